-- Tags of artifacts.

local tags = {}

-- What has each tag in each resource, as far as this work has put it there.
local tagged_now = {}

local function change_tags(seq, change)
  local artifact = artifacts.get(seq)
  local tags = artifact.tags and cjson.decode(artifact.tags) or {}
  tags = change(tags)
  set(artifacts.key(seq), {tags = #tags > 0 and cjson.encode(tags)})
end

local function drop_tag(seq, tag)
  change_tags(seq, function(tags)
    local kept = {}
    for _, other in ipairs(tags) do
      if other ~= tag then kept[#kept + 1] = other end
    end
    return kept
  end)
end

-- Takes a tag from an artifact that may have it.
function tags.take(seq, tag)
  local resource = artifacts.get(seq).resource
  local here = key('tagged', resource, tag)
  drop_tag(seq, tag)
  note('ZREM', here, seq)
  note('ZREM', key('artifact_tag', tag), seq)
  if tagged_now[here] then tagged_now[here][seq] = nil end
end

-- Puts a tag on an artifact. A unique tag leaves the others of its resource.
function tags.put(seq, tag, unique)
  local resource = artifacts.get(seq).resource
  local here, everywhere = key('tagged', resource, tag), key('artifact_tag', tag)
  tagged_now[here] = tagged_now[here] or {}
  if unique then
    for _, other in ipairs(redis.call('ZRANGE', here, 0, -1)) do
      tagged_now[here][other] = true
    end
    for other in pairs(tagged_now[here]) do
      if other ~= seq then
        drop_tag(other, tag)
        note('ZREM', here, other)
        note('ZREM', everywhere, other)
      end
    end
    tagged_now[here] = {}
  end
  tagged_now[here][seq] = true
  drop_tag(seq, tag)
  change_tags(seq, function(tags)
    tags[#tags + 1] = tag
    return tags
  end)
  note('ZADD', here, seq, seq)
  note('ZADD', everywhere, seq, seq)
end

-- Returns what has, or had before this work, a tag in a resource.
function tags.holders(resource, tag)
  local here, found = key('tagged', resource, tag), {}
  for seq in pairs(tagged_now[here] or {}) do
    found[#found + 1] = seq
  end
  for _, seq in ipairs(redis.call('ZRANGE', here, 0, -1)) do
    found[#found + 1] = seq
  end
  return found
end
