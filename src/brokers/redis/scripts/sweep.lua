-- Finds messages whose lease has run out and owners whose heartbeat has, at most once per period for all consumers of
-- the database together.
--
-- KEYS  unacked, held, leases, lease index, owners, lock
-- ARGV  who asks, most messages, period in ms
-- Returns {{dead owner, ...}, {tag, lease record, "u" | "h", stored value, ...}}; nothing when it was not our turn.
redis.call('ZREM', KEYS[4], '')  -- lets a server without memory take the lock; see extend.lua
if not redis.call('SET', KEYS[6], ARGV[1], 'NX', 'PX', ARGV[3]) then return {{}, {}} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local dead = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '(' .. string.format('%.0f', now), 'LIMIT', 0, 16)
local out = {}
local expired = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, tag in ipairs(expired) do
  local record = redis.call('HGET', KEYS[3], tag)
  local stored, kind = redis.call('HGET', KEYS[1], tag), 'u'
  if not stored then stored, kind = redis.call('HGET', KEYS[2], tag), 'h' end
  -- Taken by a Python worker since, which knows nothing of our records; see settle.lua.
  if stored and kind == 'u' and not string.find(stored, '},"","', 1, true) then stored = nil end
  if record and stored then
    out[#out + 1] = tag
    out[#out + 1] = record
    out[#out + 1] = kind
    out[#out + 1] = stored
  else
    -- A Python worker has put it back already, because its visibility timeout was shorter than the lease.
    redis.call('ZREM', KEYS[4], tag)
    redis.call('HDEL', KEYS[3], tag)
  end
end
return {dead, out}
