-- Lists of the model registry.

-- A model: its fields, and for each alias its name, version and artifact, since when, and the version
-- to which a rollback returns.
local function model_row(name)
  local aliases = {}
  local moves = redis.call('HGETALL', key('model', name, 'aliases'))
  for at = 1, #moves, 2 do
    local move = models.move(moves[at + 1])
    local artifact = artifacts.get(get(models.version_key(name, move.version)).artifact)
    local back = move.back and models.move(move.back).version or ''
    aliases[#aliases + 1] = {moves[at], move.version, artifact.id, move.at, back}
  end
  return {name, redis.call('HGETALL', models.key(name)), aliases}
end

function methods.models(args)
  local from = args.after == '' and '-' or '(' .. args.after
  return rows(redis.call('ZRANGEBYLEX', key('models'), from, '+', 'LIMIT', 0, args.limit), model_row)
end

function methods.model(args)
  return get(models.key(args.name)) and {model_row(args.name)} or {}
end

-- The versions of a model before one, newest first: each with its artifact, and with the run and
-- the action that have written it.
function methods.model_versions(args)
  local model, found = get(models.key(args.name)), {}
  if not model then return found end
  local version = math.min(tonumber(args.before) - 1, tonumber(model.newest))
  while version >= 1 and #found < tonumber(args.limit) do
    local name = models.version_key(args.name, int(version))
    local artifact = artifacts.get(get(name).artifact)
    local attempt = artifact.by and cell(key('attempt_ids'), artifact.by)
    local writer = {}
    if attempt then
      local record = get(key('attempt', attempt))
      writer = {'id', runs.get(record.run).id, 'number', record.run, 'action', record.action}
    end
    found[#found + 1] = {int(version), redis.call('HGETALL', name), artifact_row(get(name).artifact), writer}
    version = version - 1
  end
  return found
end

-- The moves of all aliases of a model, newest first.
function methods.alias_moves(args)
  return rows(before(key('model', args.name, 'moves'), args), function(seq) return row(key('move', seq), seq) end)
end
