-- Attempts that take the results of others.

-- Returns the params that an attempt has recorded, in their order.
local function params_of(attempt)
  local seqs = redis.call('HVALS', key('attempt', attempt, 'params'))
  table.sort(seqs, function(one, other) return tonumber(one) < tonumber(other) end)
  return seqs
end

-- Takes over the result of an earlier attempt: its outputs, which must be in their places, its
-- metrics and its params. From now on this attempt is the one that others take it from, so that the
-- earlier one can be removed.
function memories.reuse(attempt, reuse, now)
  local found = cell(key('attempt_ids'), reuse.from)
  local from = found and get(key('attempt', found))
  if not memories.has_result(from) or runs.get(from.run).trimmed then
    refuse('conflict', 'attempt ' .. reuse.from .. ' has no result that can be taken')
  end
  for _, id in ipairs(reuse.outputs) do
    local seq = artifacts.find(id)
    local artifact = seq and artifacts.get(seq)
    if not artifact or artifact.ended or artifact.visible == 'pending' then
      refuse('conflict', 'artifact ' .. id .. ' is not in its place any more')
    end
    outputs.add(attempt, artifact.resource, artifact.path, seq)
  end
  for _, seq in ipairs(redis.call('ZRANGE', key('metric', 'run', from.run), 0, -1)) do
    local metric = cjson.decode(cell(key('metrics'), seq))
    if metric.attempt == from.seq then
      metric.attempt, metric.at = attempt.seq, now
      add('metric', attempt.run, metric)
    end
  end
  for _, seq in ipairs(params_of(from.seq)) do
    local param = cjson.decode(cell(key('params'), seq))
    param.at = now
    add_param(attempt.run, attempt.seq, param)
  end
  for _, tag in ipairs(reuse.run_tags) do
    add_tag(attempt.run, tag)
  end
  set(key('attempt', attempt.seq), {cached_from = from.cached_from or from.id})
  local memory = from.memory and get(memories.key(from.memory))
  if memory and memory.attempt == from.seq then
    set(memories.key(from.memory), {attempt = attempt.seq})
    set(key('attempt', attempt.seq), {memory = from.memory})
    memories.list(memory.action, from.memory, attempt.seq)
  end
end
