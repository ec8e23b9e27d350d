-- The model registry, as people change it.

-- Records the card of a model. Makes no event if nothing changes.
function methods.set_model_card(args)
  models.create(args.model, args.now)
  if get(models.key(args.model)).card == args.card then return {} end
  set(models.key(args.model), {card = args.card})
  emit('model_card_changed', args.now, json('model', text(args.model)))
  return {}
end

function methods.register_version(args)
  return {models.register(args.model, args.artifact, {by = args.by, note = args.note}, args.now)}
end

-- Returns a move as it is on record, once it is.
local function written(seq)
  return function()
    local flat = redis.call('HGETALL', key('move', seq))
    flat[#flat + 1] = 'seq'
    flat[#flat + 1] = seq
    return flat
  end
end

-- Refuses a version that is not on record, or whose artifact is not in its place.
local function check_usable(name, version)
  local known = get(models.version_key(name, version))
  if not known then
    local newest, why = get(models.key(name)).newest, '`' .. name .. '` has no version ' .. version .. ': '
    refuse('conflict', why .. (newest == '0' and 'it has none yet' or 'its newest is ' .. newest))
  end
  local artifact = artifacts.get(known.artifact)
  if artifact.ended then
    refuse('conflict', 'version ' .. version .. ' of `' .. name .. '` cannot be used: `' .. artifact.path .. '` in `'
      .. artifact.resource .. '` was replaced or removed since; write each version to a path of its own')
  end
end

-- Returns the move to whose version a rollback returns.
local function move_before(name, alias, last)
  if not last then refuse('conflict', '`' .. name .. '` has no alias `' .. alias .. '`') end
  if not last.back then
    refuse('conflict', '`' .. alias .. '` of `' .. name .. '` has named no version before ' .. last.version
      .. ', so there is nothing to roll back to')
  end
  return models.move(last.back)
end

-- Moves an alias to a version, or without one back to where it was. A repeat returns the move.
function methods.move_alias(args)
  local name, alias = args.model, args.alias
  if not get(models.key(name)) then refuse('conflict', 'there is no model `' .. name .. '`') end
  local last = models.last_move(name, alias)
  if last and last.write == args.id then return written(last.seq) end
  local step = {alias = alias, version = args.version, back = last and last.seq, before = last and last.version}
  if not args.version then
    local earlier = move_before(name, alias, last)
    step.version, step.back, step.rolled_back = earlier.version, earlier.back, true
  end
  check_usable(name, step.version)
  if last and args.version == last.version then return written(last.seq) end
  return written(models.point(name, step, {by = args.by, note = args.note, write = args.id}, args.now))
end
