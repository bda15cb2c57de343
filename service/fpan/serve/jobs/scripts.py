"""Lua scripts that change jobs in Redis atomically.

A job is a record (a hash) and, until it has ended, an entry of a stream that one consumer group reads. The two change
in one script, so they never disagree. The entry's idle time, by Redis's own clock, is the lease of whoever runs the
job; a token in the record tells a worker that was away too long that another has taken over.
"""

PREFIX = "{fpan-jobs}:"
"""Of all keys; the braces keep them on one node of a cluster."""
QUEUE, DUE, HOOKS, CHANGED, SWEPT = (PREFIX + name for name in ("queue", "due", "hooks", "changed", "swept"))
RECORD, MARKS, KEY, BLOBS = (PREFIX + name for name in ("record:", "marks:", "key:", "blobs:"))

_COMMON = f"""
local QUEUE, DUE, HOOKS = '{QUEUE}', '{DUE}', '{HOOKS}'
local GROUP, WORKER = 'workers', 'worker'

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function record(id) return '{RECORD}' .. id end
local function marks(id) return '{MARKS}' .. id end

local function tell(id)
  redis.call('HINCRBY', record(id), 'seq', 1)
  redis.call('PUBLISH', '{CHANGED}', id)
end

local function field(id, name) return redis.call('HGET', record(id), name) end

local function dequeue(entry)
  redis.call('XACK', QUEUE, GROUP, entry)
  redis.call('XDEL', QUEUE, entry)
end

local function finish(id, state, problem)
  local at = now()
  redis.call('HSET', record(id), 'state', state, 'finished_ms', at, 'problem', problem)
  redis.call('HDEL', record(id), 'token')
  local entry = field(id, 'entry')
  pcall(dequeue, entry)
  -- A job without a result has lost its pictures already; a worker may be writing still, so that is done once more.
  local kept = state == 'succeeded' and tonumber(field(id, 'result_ttl_ms')) or 60000
  redis.call('ZADD', DUE, at + kept, id)
  local ttl = tonumber(field(id, 'record_ttl_ms'))
  redis.call('PEXPIRE', record(id), ttl)
  redis.call('PEXPIRE', marks(id), ttl)
  if field(id, 'webhook') ~= '' then redis.call('ZADD', HOOKS, at, id) end
  tell(id)
  return at - tonumber(field(id, 'created_ms'))
end

local function owns(id, token) return token ~= '' and field(id, 'token') == token end

local function renew(id)
  redis.call('XCLAIM', QUEUE, GROUP, WORKER, 0, field(id, 'entry'), 'JUSTID')
end
"""

SUBMIT = (
    _COMMON
    + """
-- ARGV: id, idempotency key (its whole name in Redis, or empty), digest, most that may wait, input ttl ms,
-- then fields of the record
local id, key, digest, most, input_ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', record(id)) == 1 then return {id, 'new'} end
if key ~= '' then
  local other = redis.call('GET', key)
  local known = other and field(other, 'digest')
  if known then return {other, known == digest and 'same' or 'other'} end
end
if redis.call('XLEN', QUEUE) >= most then return {id, 'full'} end
local at = now()
redis.call('HSET', record(id), 'id', id, 'state', 'queued', 'created_ms', at, 'digest', digest, 'key', key, 'seq', 0,
  'done', 0, 'failed', 0, 'attempts', 0, 'problem', '', unpack(ARGV, 6))
redis.call('HSET', record(id), 'entry', redis.call('XADD', QUEUE, '*', 'job', id))
redis.call('ZADD', DUE, at + input_ttl, id)
if key ~= '' then redis.call('SET', key, id, 'PX', tonumber(field(id, 'record_ttl_ms')) + input_ttl) end
tell(id)
return {id, 'new'}
"""
)
"""Returns the id of the job, and whether it is new, the same as before, another than before, or one too many."""

TAKE = (
    _COMMON
    + """
-- ARGV: token, lease ms, most attempts, problem of a job that had too many
local token, lease, most, worn = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ended = {}

local function begin(entry)
  local id = entry[2][2]
  local state = field(id, 'state')
  if state ~= 'queued' and state ~= 'running' then
    dequeue(entry[1])
    return nil
  end
  if redis.call('HINCRBY', record(id), 'attempts', 1) > most then
    table.insert(ended, finish(id, 'failed', worn))
    return nil
  end
  redis.call('HSETNX', record(id), 'started_ms', now())
  redis.call('HSET', record(id), 'state', 'running', 'token', token)
  tell(id)
  return id
end

pcall(redis.call, 'XGROUP', 'CREATE', QUEUE, GROUP, '0', 'MKSTREAM')
local cursor = '0-0'
repeat
  local claimed = redis.call('XAUTOCLAIM', QUEUE, GROUP, WORKER, lease, cursor, 'COUNT', 1)
  cursor = claimed[1]
  local id = claimed[2][1] and begin(claimed[2][1])
  if id then return {id, unpack(ended)} end
until cursor == '0-0'
while true do
  local fresh = redis.call('XREADGROUP', 'GROUP', GROUP, WORKER, 'COUNT', 1, 'STREAMS', QUEUE, '>')
  if not fresh then return {'', unpack(ended)} end
  local id = begin(fresh[1][2][1])
  if id then return {id, unpack(ended)} end
end
"""
)
"""Returns the id of a job that the token now owns: one whose lease has expired, else the one that waits longest; empty
if there is none. Then, for each job that failed here after too many attempts: milliseconds since its submission."""

RENEW = (
    _COMMON
    + """
-- ARGV: id, token
if not owns(ARGV[1], ARGV[2]) then return 0 end
renew(ARGV[1])
return 1
"""
)
"""Renews the lease. Returns 1, or 0 if the token no longer owns the job."""

MARK = (
    _COMMON
    + """
-- ARGV: id, token, index of the picture, its status
local id = ARGV[1]
if not owns(id, ARGV[2]) then return 0 end
if redis.call('HSETNX', marks(id), ARGV[3], ARGV[4]) == 1 then
  redis.call('HINCRBY', record(id), 'done', 1)
  if ARGV[4] ~= '200' then redis.call('HINCRBY', record(id), 'failed', 1) end
  tell(id)
end
renew(id)
return 1
"""
)
"""Marks a picture as done. Returns 1, or 0 if the token no longer owns the job."""

FINISH = (
    _COMMON
    + """
-- ARGV: id, token, state, problem
if not owns(ARGV[1], ARGV[2]) then return -1 end
return finish(ARGV[1], ARGV[3], ARGV[4])
"""
)
"""Ends a job. Returns milliseconds since its submission; -1 if the token no longer owns it."""

HAND_BACK = (
    _COMMON
    + """
-- ARGV: id, token, lease ms
local id = ARGV[1]
if not owns(id, ARGV[2]) then return 0 end
redis.call('HINCRBY', record(id), 'attempts', -1)
redis.call('HSET', record(id), 'state', 'queued')
redis.call('HDEL', record(id), 'token')
redis.call('XCLAIM', QUEUE, GROUP, WORKER, 0, field(id, 'entry'), 'IDLE', ARGV[3], 'JUSTID')
tell(id)
return 1
"""
)
"""Lets another worker take the job at once."""

CANCEL = (
    _COMMON
    + """
-- ARGV: id
local state = field(ARGV[1], 'state')
if state == 'queued' or state == 'running' then
  return finish(ARGV[1], 'cancelled', '')
end
return -1
"""
)
"""Cancels a job. Returns milliseconds since its submission; -1 if there was nothing to cancel."""

REMOVE = (
    _COMMON
    + """
-- ARGV: id
local id = ARGV[1]
local key = field(id, 'key')
if key and key ~= '' then redis.call('DEL', key) end
redis.call('DEL', record(id), marks(id))
redis.call('ZREM', DUE, id)
redis.call('ZREM', HOOKS, id)
redis.call('PUBLISH', '"""
    + CHANGED
    + """', id)
"""
)
"""Forgets a job that has ended."""

OVERDUE = (
    _COMMON
    + """
-- ARGV: problem of a job that waited too long, how many at most
local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', now(), 'LIMIT', 0, tonumber(ARGV[2]))
local found = {}
for i, id in ipairs(ids) do
  local state, age = field(id, 'state'), -1
  if state == 'queued' or state == 'running' then
    age = finish(id, 'failed', ARGV[1])
  elseif state == 'succeeded' then
    redis.call('HSET', record(id), 'expired', 1)
  end
  found[i] = {id, age}
end
return found
"""
)
"""Ends what has waited or been kept too long; ids of the jobs whose input and result must go, each with milliseconds
since it was handed in, or -1 where it had ended before."""

NEXT_HOOK = (
    _COMMON
    + """
-- ARGV: ms until another may try it, then hosts that are being told something already
local busy = {}
for i = 2, #ARGV do busy[ARGV[i]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', HOOKS, '-inf', now(), 'LIMIT', 0, 1000)) do
  local url = field(id, 'webhook')
  if not url then
    redis.call('ZREM', HOOKS, id)
  else
    local host = string.match(url, '^%a+://([^/?#]*)') or ''
    if not busy[host] then
      redis.call('ZADD', HOOKS, now() + tonumber(ARGV[1]), id)
      return {id, redis.call('HINCRBY', record(id), 'hook_attempts', 1), host}
    end
  end
end
return false
"""
)
"""Returns the id of a job whose webhook call is due, the number of this attempt, and the host."""

LATER_HOOK = (
    _COMMON
    + """
-- ARGV: id, ms
redis.call('ZADD', HOOKS, 'XX', now() + tonumber(ARGV[2]), ARGV[1])
"""
)
"""Schedules the next attempt of a webhook call."""
