-- Takes messages from their queues and records, in the same step, who holds them and until when: in kombu's `unacked`
-- and `unacked_index`, so that Python workers see them as handed out, and in our leases. Parked messages that are due
-- go to their lists first. Strings are searched and not decoded: cjson costs two to three times as much per message.
--
-- KEYS  unacked, unacked_index, leases, lease index, held, token, revoked; then for each queue in turn: its parked messages
--       and its lists, most urgent first
-- ARGV  most messages, owner, lease in us, number of lists per queue, a prefix for fresh tags; then each queue's name
--       as JSON text
-- Returns {now in us, earliest due time of the parked or "", token of the first message, why a list was refused or "",
--       time of the last revocation or ""; then for each message: tag, number of its queue from 0, envelope}. Tokens count up from the first.
local unacked, index, leases, lease_index, held, tokens, revoked = unpack(KEYS, 1, 7)
local want, owner, lease = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local steps, fresh = tonumber(ARGV[4]), ARGV[5]
local queues = #ARGV - 5
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local kDueAtOnce = 100
local kEnoughBytes = 8 * 1024 * 1024

local function key_of(queue, step) return KEYS[8 + (queue - 1) * (steps + 1) + step] end

-- A key that is no list is told and passed over: it must not stop the other queues, and nothing is lost by it.
local refused = ''

-- An entry is: list key, line end, what makes it unique, line end, envelope. A server without memory refuses a push as
-- the first write of a script, but not after a removal, and moving needs no more memory than it frees.
for queue = 1, queues do
  local parked = key_of(queue, 0)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', parked, '-inf', now, 'LIMIT', 0, kDueAtOnce)) do
    local a = string.find(entry, '\n', 1, true)
    local b = a and string.find(entry, '\n', a + 1, true)
    redis.call('ZREM', parked, '')
    local pushed = b and redis.pcall('LPUSH', string.sub(entry, 1, a - 1), string.sub(entry, b + 1))
    if type(pushed) == 'table' then
      refused = string.sub(entry, 1, a - 1) .. ': ' .. pushed.err
      break
    end
    redis.call('ZREM', parked, entry)
  end
end

-- Few at a time while they are large, so that the answer stays within what a reader accepts.
local messages, from, lists, bytes = {}, {}, {}, 0
for step = 1, steps do
  for queue = 1, queues do
    local list = key_of(queue, step)
    while #messages < want and bytes < kEnoughBytes do
      local several = bytes <= 4096 * #messages and #messages > 0 and 64 or 8
      local chunk = math.min(want - #messages, several)
      local popped = redis.pcall('RPOP', list, chunk)
      if not popped then break end
      if popped.err then
        if string.find(popped.err, 'WRONGTYPE', 1, true) == nil then return popped end
        refused = list .. ': ' .. popped.err
        break
      end
      for _, message in ipairs(popped) do
        messages[#messages + 1] = message
        from[#messages], lists[#messages] = queue, list
        bytes = bytes + #message
      end
      if #popped < chunk then break end
    end
  end
end

local revocation = redis.call('ZRANGE', revoked, -1, -1, 'WITHSCORES')[2] or ''
local now_text = string.format('%.0f', now)
if #messages == 0 then
  local earliest = ''
  for queue = 1, queues do
    local first = redis.call('ZRANGE', key_of(queue, 0), 0, 0, 'WITHSCORES')
    if first[2] and (earliest == '' or tonumber(first[2]) < tonumber(earliest)) then
      earliest = string.format('%.0f', tonumber(first[2]))
    end
  end
  return {now_text, earliest, '0', refused, revocation}
end

-- Tokens grow with time and never fall behind an earlier one, even when the clock is set back or the data was lost.
local token = math.max(now, tonumber(redis.call('GET', tokens) or '0') + 1)
redis.call('SET', tokens, string.format('%.0f', token + #messages - 1))

-- kombu and Errand write the tag last: ..., "delivery_tag": "<36 characters>"}}. Elsewhere it is searched; no text can
-- hold `"delivery_tag"` without escaping its quotes. Returns the tag and where it stands.
local sub, find = string.sub, string.find
local function find_tag(message)
  if sub(message, -3) == '"}}' and sub(message, -56, -40) == '"delivery_tag": "' then
    local tag = sub(message, -39, -4)
    if find(tag, '^[%w%-]+$') then return tag, #message - 38 end
  end
  local name = find(message, '"delivery_tag"', 1, true)
  if not name then return nil end
  local at, tag = string.match(message, '^"delivery_tag"%s*:%s*"()([^"\\%c]+)"', name)
  if tag and #tag <= 200 then return tag, at end
  return nil
end

-- A message that is no object with a tag is kept beside kombu's tables, where its bytes would break Python's reader.
local count = #messages
local tags, places, indexed, odd = {}, {}, {}, {}
-- kombu's score is a float of seconds. Whole ones are what a small sorted set keeps as a number: a fraction is kept as
-- text and parsed again at every comparison, which was a third of this script. Rounded up, so that nobody takes a living
-- message sooner; Python's restore job then waits up to a second longer.
local stamp = string.format('%.0f', math.ceil(now / 1000000))
for i = 1, count do
  local message = messages[i]
  local tag, at
  if string.byte(message, 1) == 123 and string.byte(message, -1) == 125 then tag, at = find_tag(message) end
  if tag then
    tags[i], places[i] = tag, at
    indexed[#indexed + 1] = stamp
    indexed[#indexed + 1] = tag
  else
    tags[i] = fresh .. i
    odd[#odd + 1] = tags[i]
    odd[#odd + 1] = message
  end
end

-- Two live messages with one tag (kombu gives every copy of a fan-out the same) would destroy each other's record:
-- the later one gets a tag of its own, which ends in a fresh one: stored.cpp finds the sender's before the '!'.
if #indexed > 0 and redis.call('ZADD', index, 'NX', unpack(indexed)) < #indexed / 2 then
  local seen = {}
  for i = 1, count do
    local at, tag = places[i], tags[i]
    if at then
      if seen[tag] or redis.call('HEXISTS', unacked, tag) == 1 then
        tags[i] = (#tag <= 120 and tag .. '!' or '') .. fresh .. i
        messages[i] = sub(messages[i], 1, at - 1) .. tags[i] .. sub(messages[i], at + #tag)
      end
      seen[tag] = true
      redis.call('ZADD', index, stamp, tags[i])
    end
  end
end

-- Exchange "" and the queue's name, without blanks, so that it is known for ours: whoever restores it puts it back where it was taken, whatever is bound then.
local tails, owned = {}, {}
for queue = 1, queues do tails[queue] = ',"",' .. ARGV[5 + queue] .. ']' end
local stored, records, expiry = {}, {}, {}
local ends = string.format('%.0f', now + lease)
-- Sixteen digits are dear to format, and only their last six change.
local kLow = 1000000
local high, low = string.format('%.0f', math.floor(token / kLow)), token % kLow
local function token_text(i)
  if low + i < kLow then return high .. string.format('%06d', low + i) end
  return string.format('%.0f', token + i)
end
local out = {now_text, '', string.format('%.0f', token), refused, revocation}
for i = 1, count do
  local tag, list = tags[i], lists[i]
  if places[i] then
    stored[#stored + 1] = tag
    stored[#stored + 1] = '[' .. messages[i] .. tails[from[i]]
  end
  local tail = owned[list]
  if not tail then
    tail = '|' .. owner .. '|' .. list
    owned[list] = tail
  end
  local n = 2 * i
  records[n - 1], records[n] = tag, token_text(i - 1) .. tail
  expiry[n - 1], expiry[n] = ends, tag
  n = 3 * i
  out[n + 3], out[n + 4], out[n + 5] = tag, from[i] - 1, messages[i]
end
if #stored > 0 then redis.call('HSET', unacked, unpack(stored)) end
if #odd > 0 then redis.call('HSET', held, unpack(odd)) end
redis.call('HSET', leases, unpack(records))
redis.call('ZADD', lease_index, unpack(expiry))
return out
