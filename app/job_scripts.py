"""The Lua scripts of `jobs`: changes that depend on what is there, each one step for Redis."""

# KEYS: job, last job of each document. ARGV: document id, prefix of jobs, job id, seconds to keep
# what it supersedes, the document's version, the time, then the job's fields. Opening a job that is there
# changes nothing, nor does one of an older version than the last one's.
OPEN = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local last = redis.call('HGET', KEYS[2], ARGV[1])
if last and last ~= ARGV[3] then
  local old = ARGV[2] .. last
  local subject = redis.call('HGET', old, 'subject')
  if subject and cjson.decode(subject).version > tonumber(ARGV[5]) then return 0 end
  local status = redis.call('HGET', old, 'status')
  if status == 'queued' then redis.call('HSET', old, 'status', 'cancelled', 'ended_at', ARGV[6]) end
  if status == 'running' then redis.call('HSET', old, 'cancel', '1') end
  redis.call('EXPIRE', old, ARGV[4])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
"""

# KEYS: job. ARGV: how often it may begin without getting further, what to say of one that has, the time,
# then fields to set while the job is unfinished and nobody asked it to stop.
START = """
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return 0 end
if redis.call('HGET', KEYS[1], 'cancel') == '1' then
  redis.call('HSET', KEYS[1], 'status', 'cancelled', 'ended_at', ARGV[3])
  return 0
end
if redis.call('HINCRBY', KEYS[1], 'starts', 1) > tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'status', 'failed', 'stage', '"failed"', 'error', ARGV[2])
  redis.call('HSET', KEYS[1], 'ended_at', ARGV[3])
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
return 1
"""

# KEYS: job. ARGV: how far it is, then fields to set while the job is unfinished. One that gets further
# than it ever was may begin as often again.
REPORT = """
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return 0 end
if tonumber(ARGV[1]) > tonumber(redis.call('HGET', KEYS[1], 'reached') or '-1') then
  redis.call('HSET', KEYS[1], 'reached', ARGV[1], 'starts', '0')
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""

# KEYS: job. ARGV: fields to set while the job is unfinished.
CHANGE = """
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""

# KEYS: jobs to stop. ARGV: the time. A queued job ends here; a running one ends at its next step.
CANCEL = """
for _, job in ipairs(KEYS) do
  local status = redis.call('HGET', job, 'status')
  if status == 'queued' then
    redis.call('HSET', job, 'status', 'cancelled', 'cancel', '1', 'ended_at', ARGV[1])
  end
  if status == 'running' then redis.call('HSET', job, 'cancel', '1') end
end
"""

# KEYS: last job of each document. ARGV: document id, prefix of jobs, seconds, the time.
FORGET = """
local last = redis.call('HGET', KEYS[1], ARGV[1])
if not last then return end
redis.call('HDEL', KEYS[1], ARGV[1])
local job = ARGV[2] .. last
local status = redis.call('HGET', job, 'status')
if status == 'queued' then redis.call('HSET', job, 'status', 'cancelled', 'ended_at', ARGV[4]) end
if status == 'running' then redis.call('HSET', job, 'cancel', '1') end
redis.call('EXPIRE', job, ARGV[3])
"""

# KEYS: job. What it made so far is where it left it.
REOPEN = """
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'failed' and status ~= 'cancelled' then return 0 end
redis.call('HSET', KEYS[1], 'status', 'queued', 'stage', '"waiting"', 'error', 'null')
redis.call('HDEL', KEYS[1], 'cancel', 'starts', 'reached', 'ended_at')
return 1
"""
