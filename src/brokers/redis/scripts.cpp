#include "brokers/redis/scripts.hpp"

namespace errand::redis {

const Script& fetch_script() {
  static const Script script(R"lua(
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local stamp = string.format('%.6f', now)
local most, owner, heartbeat = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local queues, steps = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('SET', KEYS[6], '1', 'PX', heartbeat)
local earliest = ''
for q = 1, queues do
  local parked = KEYS[7 + (q - 1) * (steps + 1)]
  local due = redis.call('ZRANGEBYSCORE', parked, '-inf', stamp, 'LIMIT', 0, 500)
  for i = #due, 1, -1 do
    local cut = string.find(due[i], '\n', 1, true)
    redis.call('RPUSH', string.sub(due[i], 1, cut - 1), string.sub(due[i], cut + 1))
    redis.call('ZREM', parked, due[i])
  end
  local nearest = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
  if nearest[2] and (earliest == '' or tonumber(nearest[2]) < tonumber(earliest)) then earliest = nearest[2] end
end
local out = {stamp, earliest}
local taken = 0
for s = 1, steps do
  for q = 1, queues do
    local list = KEYS[7 + (q - 1) * (steps + 1) + s]
    while taken < most do
      local message = redis.call('RPOP', list)
      if not message then break end
      taken = taken + 1
      local token = redis.call('INCR', KEYS[4])
      local tag
      local _, stop = string.find(message, '"delivery_tag": "', 1, true)
      if not stop then _, stop = string.find(message, '"delivery_tag":"', 1, true) end
      if stop then
        local close = string.find(message, '"', stop + 1, true)
        if close and close - stop < 256 then tag = string.sub(message, stop + 1, close - 1) end
      end
      local whole = tag and string.byte(message, 1) == 123 and string.byte(message, -1) == 125
      if not tag or tag == '' or string.find(tag, '\\', 1, true) then tag = 'errand' end
      if tag == 'errand' or redis.call('HEXISTS', KEYS[1], tag) == 1 or redis.call('HEXISTS', KEYS[3], tag) == 1 then
        tag = tag .. ':' .. token
      end
      if whole then
        redis.call('HSET', KEYS[1], tag, '[' .. message .. ', "", "' .. ARGV[5 + q] .. '"]')
      else
        redis.call('HSET', KEYS[5], tag, message)
      end
      redis.call('ZADD', KEYS[2], stamp, tag)
      redis.call('HSET', KEYS[3], tag, token .. '|' .. owner .. '|' .. list)
      out[#out + 1] = tag
      out[#out + 1] = tostring(token)
      out[#out + 1] = tostring(q - 1)
      out[#out + 1] = message
    end
  end
end
return out
)lua");
  return script;
}

const Script& settle_script() {
  static const Script script(R"lua(
local at = 1
local function take() local v = ARGV[at]; at = at + 1; return v end
local function original(tag)
  local stored = redis.call('HGET', KEYS[1], tag)
  if not stored then return redis.call('HGET', KEYS[4], tag) end
  -- [envelope, "", "queue"]: the envelope ends before the last two texts.
  local tail = string.find(stored, '}, "[^"]*", "[^"]*"%]$')
  if not tail then return string.sub(stored, 2, -2) end
  return string.sub(stored, 2, tail)
end
local function marked(envelope)
  if string.find(envelope, '"redelivered": true', 1, true) then return envelope end
  for _, name in ipairs({'"headers": {', '"delivery_info": {'}) do
    local _, stop = string.find(envelope, name, 1, true)
    if stop then
      local comma = string.sub(envelope, stop + 1, stop + 1) == '}' and '' or ', '
      envelope = string.sub(envelope, 1, stop) .. '"redelivered": true' .. comma .. string.sub(envelope, stop + 1)
    end
  end
  return envelope
end
local follow = {}
for i = 1, tonumber(take()) do follow[i] = {take(), take(), take(), take(), take()} end
local settle, stale, late, mine = {}, 0, {}, {}
for i = 1, tonumber(take()) do
  local one = {take(), take(), take(), take(), take(), take()}
  local lease = redis.call('HGET', KEYS[3], one[1])
  if lease and string.sub(lease, 1, #one[2] + 1) == one[2] .. '|' then
    local _, cut = string.find(lease, '|.-|', #one[2] + 1)
    one[7] = string.sub(lease, cut + 1)
    settle[#settle + 1] = one
  else
    stale = stale + 1
    late[one[2]] = true
  end
end
for _, one in ipairs(follow) do
  if one[1] == 'park' then
    redis.call('ZADD', one[5], one[4], one[2] .. '\n' .. one[3])
  else
    redis.call('LPUSH', one[2], one[3])
  end
end
for i = 1, tonumber(take()) do
  local token, key, ttl, json = take(), take(), take(), take()
  local old = redis.call('GET', key)
  local done = old and string.sub(old, 1, 20) == '{"status": "SUCCESS"'
  if not done and not late[token] then
    if ttl == '0' then redis.call('SET', key, json) else redis.call('SETEX', key, ttl, json) end
    redis.call('PUBLISH', key, json)
  end
end
for _, one in ipairs(settle) do
  local tag, op, list = one[1], one[3], one[7]
  if op == 'requeue' then
    redis.call('RPUSH', list, marked(original(tag)))
  elseif op == 'park' then
    redis.call('ZADD', one[5], one[4], list .. '\n' .. original(tag))
  elseif op == 'dead' then
    local first = redis.call('ZSCORE', KEYS[2], tag)
    redis.call('HSET', one[4], tag, one[6] .. '\n' .. list .. '\n' .. original(tag))
    redis.call('ZADD', one[5], first, tag)
  end
  redis.call('ZREM', KEYS[2], tag)
  redis.call('HDEL', KEYS[1], tag)
  redis.call('HDEL', KEYS[4], tag)
  redis.call('HDEL', KEYS[3], tag)
end
return stale
)lua");
  return script;
}

const Script& rescue_script() {
  static const Script script(R"lua(
local found = redis.call('HSCAN', KEYS[3], ARGV[3], 'COUNT', ARGV[2])
local alive, restored = {}, 0
local entries = found[2]
for i = 1, #entries, 2 do
  local tag, lease = entries[i], entries[i + 1]
  local a = string.find(lease, '|', 1, true)
  local b = string.find(lease, '|', a + 1, true)
  local owner, list = string.sub(lease, a + 1, b - 1), string.sub(lease, b + 1)
  if alive[owner] == nil then alive[owner] = redis.call('EXISTS', ARGV[1] .. owner) == 1 end
  if not alive[owner] then
    local stored = redis.call('HGET', KEYS[1], tag)
    local envelope = redis.call('HGET', KEYS[4], tag)
    if stored then
      local tail = string.find(stored, '}, "[^"]*", "[^"]*"%]$')
      envelope = tail and string.sub(stored, 2, tail) or nil
      if envelope and not string.find(envelope, '"redelivered": true', 1, true) then
        for _, name in ipairs({'"headers": {', '"delivery_info": {'}) do
          local _, stop = string.find(envelope, name, 1, true)
          if stop then
            local comma = string.sub(envelope, stop + 1, stop + 1) == '}' and '' or ', '
            envelope = string.sub(envelope, 1, stop) .. '"redelivered": true' .. comma .. string.sub(envelope, stop + 1)
          end
        end
      end
    end
    -- Neither: a Python worker has restored it already, because its visibility timeout was shorter.
    if envelope then
      redis.call('RPUSH', list, envelope)
      restored = restored + 1
    end
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[1], tag)
    redis.call('HDEL', KEYS[4], tag)
    redis.call('HDEL', KEYS[3], tag)
  end
end
return {restored, found[1]}
)lua");
  return script;
}

const Script& extend_script() {
  static const Script script(R"lua(
local time = redis.call('TIME')
local stamp = string.format('%.6f', tonumber(time[1]) + tonumber(time[2]) / 1000000)
redis.call('SET', KEYS[3], '1', 'PX', ARGV[1])
local stale = 0
for i = 2, #ARGV, 2 do
  local lease = redis.call('HGET', KEYS[2], ARGV[i])
  if lease and string.sub(lease, 1, #ARGV[i + 1] + 1) == ARGV[i + 1] .. '|' then
    redis.call('ZADD', KEYS[1], 'XX', stamp, ARGV[i])
  else
    stale = stale + 1
  end
end
return stale
)lua");
  return script;
}

const Script& dead_script() {
  static const Script script(R"lua(
local found = 0
for i = 2, #ARGV do
  local record = redis.call('HGET', KEYS[1], ARGV[i])
  if record then
    if ARGV[1] == 'requeue' then
      local a = string.find(record, '\n', 1, true)
      local b = string.find(record, '\n', a + 1, true)
      redis.call('LPUSH', string.sub(record, a + 1, b - 1), string.sub(record, b + 1))
    end
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    found = found + 1
  end
end
return found
)lua");
  return script;
}

}  // namespace errand::redis
