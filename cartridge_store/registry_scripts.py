"""The Lua scripts of `registry`: changes of several keys, or that depend on what is there, each one step.

A document's keys come in the order of `Registry._document_keys`: current, versions, document, claim,
changes. What changes which version is current, or removes one, says so on the channel that is the last of
them, as `changes.Change` reads it, in the same step: nobody can hear of it before it is so.
"""

# KEYS: a document's. ARGV: document id, new version, expected version or "", milliseconds.
# Whoever has the claim may store the new version's blob; others would leave a rival.
CLAIM = """
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] and current ~= ARGV[3] then
  return {0, current, redis.call('SISMEMBER', KEYS[2], ARGV[2])}
end
local holder = redis.call('GET', KEYS[4])
if holder and holder ~= ARGV[2] then return {2, holder, 0} end
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[4])
return {1, ARGV[2], 0}
"""

# KEYS: a document's. ARGV: document id, new version, expected version or "", collection/document id,
# then the fields and values of the document. Promoting the current version again changes nothing,
# so that a caller who lost the answer may ask again.
PROMOTE = """
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] and current ~= ARGV[3] then
  return {0, current, redis.call('SISMEMBER', KEYS[2], ARGV[2])}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], unpack(ARGV, 5))
if redis.call('GET', KEYS[4]) == ARGV[2] then redis.call('DEL', KEYS[4]) end
if current ~= ARGV[2] then
  redis.call('PUBLISH', KEYS[5], ARGV[4] .. ' ' .. ARGV[2] .. ' ' .. current)
end
return {1, ARGV[2], 1}
"""

# KEYS: a document's. ARGV: document id, current version, collection/document id, number of versions, the
# versions, then the fields and values of the document.
RESTORE = """
local last = 4 + tonumber(ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3])
for place = 5, last do redis.call('SADD', KEYS[2], ARGV[place]) end
redis.call('HSET', KEYS[3], unpack(ARGV, last + 1))
redis.call('PUBLISH', KEYS[5], ARGV[3] .. ' ' .. ARGV[2])
"""

# KEYS: a document's, heat. ARGV: document id, prefix of locations, the version that must be current or ""
# for any, collection/document id.
RETIRE = """
if ARGV[3] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[3] then return {} end
local versions = redis.call('SMEMBERS', KEYS[2])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
for _, version in ipairs(versions) do
  redis.call('DEL', ARGV[2] .. version)
  redis.call('ZREM', KEYS[6], version)
end
redis.call('PUBLISH', KEYS[5], ARGV[4] .. ' - ' .. table.concat(versions, ' '))
return versions
"""

# KEYS: a document's, heat, the version's locations. ARGV: document id, the version, collection/document id.
FORGET_VERSION = """
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[7])
redis.call('ZREM', KEYS[6], ARGV[2])
local current = redis.call('HGET', KEYS[1], ARGV[1]) or '-'
redis.call('PUBLISH', KEYS[5], ARGV[3] .. ' ' .. current .. ' ' .. ARGV[2])
"""

# KEYS: leases. ARGV: now, until, members.
LEASE = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
for place = 3, #ARGV do redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[place]) end
"""

# ARGV: pattern.
FORGET_ALL = """
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do redis.call('DEL', key) end
until cursor == '0'
"""
