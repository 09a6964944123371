-- Takes messages from their queues and records, in the same step, who holds them and until when: in kombu's `unacked`
-- and `unacked_index`, so that Python workers see them as handed out, and in our leases. Parked messages that are due
-- go to their lists first. Strings are searched and not decoded: cjson costs two to three times as much per message.
--
-- KEYS  unacked, unacked_index, leases, lease index, held, token; then for each queue in turn: its parked messages
--       and its lists, most urgent first
-- ARGV  most messages, owner, lease in us, number of lists per queue, a prefix for fresh tags; then each queue's name
--       as JSON text
-- Returns {now in us, earliest due time of the parked or "", token of the first message, why a list was refused or "";
--       then for each message: tag, number of its queue from 0, envelope}. Tokens count up from the first.
local unacked, index, leases, lease_index, held, tokens = unpack(KEYS, 1, 6)
local want, owner, lease = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local steps, fresh = tonumber(ARGV[4]), ARGV[5]
local queues = #ARGV - 5
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local kDueAtOnce = 100
local kEnoughBytes = 8 * 1024 * 1024

local function key_of(queue, step) return KEYS[7 + (queue - 1) * (steps + 1) + step] end

-- An entry is: list key, line end, what makes it unique, line end, envelope. Removing first is what a server without
-- memory allows, and then it allows the rest.
for queue = 1, queues do
  local parked = key_of(queue, 0)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', parked, '-inf', now, 'LIMIT', 0, kDueAtOnce)) do
    local a = string.find(entry, '\n', 1, true)
    local b = a and string.find(entry, '\n', a + 1, true)
    redis.call('ZREM', parked, entry)
    if b then redis.call('LPUSH', string.sub(entry, 1, a - 1), string.sub(entry, b + 1)) end
  end
end

-- Few at a time while they are large, so that the answer stays within what a reader accepts.
-- A key that is no list is told and passed over: it must not stop the other queues.
local messages, from, lists, bytes, refused = {}, {}, {}, 0, ''
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

local now_text = string.format('%.0f', now)
if #messages == 0 then
  local earliest = ''
  for queue = 1, queues do
    local first = redis.call('ZRANGE', key_of(queue, 0), 0, 0, 'WITHSCORES')
    if first[2] and (earliest == '' or tonumber(first[2]) < tonumber(earliest)) then
      earliest = string.format('%.0f', tonumber(first[2]))
    end
  end
  return {now_text, earliest, '0', refused}
end

-- Tokens grow with time and never fall behind an earlier one, even when the clock is set back or the data was lost.
local token = math.max(now, tonumber(redis.call('GET', tokens) or '0') + 1)
redis.call('SET', tokens, string.format('%.0f', token + #messages - 1))

-- kombu and Errand write the tag last. A text cannot hold `"delivery_tag"` without escaping its quotes.
local function find_tag(message)
  local size = #message
  local last = string.sub(message, -120)
  local at, tag = string.match(last, '"delivery_tag": "()([%w%-]+)"}}$')
  if at then return tag, size - #last + at end
  local name = string.find(message, '"delivery_tag"', 1, true)
  if not name then return nil end
  at, tag = string.match(message, '^"delivery_tag"%s*:%s*"()([^"\\%c]+)"', name)
  if tag and #tag <= 200 then return tag, at end
  return nil
end

local tags, places, seen = {}, {}, {}
local whole = {}    -- numbers of the messages that look like envelopes
local indexed = {}  -- arguments for unacked_index
local stamp = string.format('%.6f', now / 1000000)
local function retag(i)
  local old, at = tags[i], places[i]
  tags[i] = fresh .. i
  if at then messages[i] = string.sub(messages[i], 1, at - 1) .. tags[i] .. string.sub(messages[i], at + #old) end
end
for i, message in ipairs(messages) do
  local tag, at = nil, nil
  if string.byte(message, 1) == 123 and string.byte(message, -1) == 125 then tag, at = find_tag(message) end
  tags[i], places[i] = tag, at
  if tag then whole[#whole + 1] = i end
  if not tag or seen[tag] then retag(i) end
  seen[tags[i]] = true
  if tag then
    indexed[#indexed + 1] = stamp
    indexed[#indexed + 1] = tags[i]
  end
end

-- Two live messages with one tag (kombu gives every copy of a fan-out the same) would destroy each other's record.
if #whole > 0 and redis.call('ZADD', index, 'NX', unpack(indexed)) < #whole then
  for _, i in ipairs(whole) do
    if redis.call('HEXISTS', unacked, tags[i]) == 1 then retag(i) end
    redis.call('ZADD', index, stamp, tags[i])
  end
end

-- Exchange "" and the queue's name: whoever restores it puts it back where it was taken, whatever is bound then.
local stored, records, expiry, odd = {}, {}, {}, {}
for _, i in ipairs(whole) do
  stored[#stored + 1] = tags[i]
  stored[#stored + 1] = '[' .. messages[i] .. ', "", ' .. ARGV[5 + from[i]] .. ']'
  places[i] = false
end
for i, tag in ipairs(tags) do
  records[#records + 1] = tag
  records[#records + 1] = string.format('%.0f', token + i - 1) .. '|' .. owner .. '|' .. lists[i]
  expiry[#expiry + 1] = now + lease
  expiry[#expiry + 1] = tag
  if places[i] ~= false then
    odd[#odd + 1] = tag
    odd[#odd + 1] = messages[i]
  end
end
if #stored > 0 then redis.call('HSET', unacked, unpack(stored)) end
if #odd > 0 then redis.call('HSET', held, unpack(odd)) end
redis.call('HSET', leases, unpack(records))
redis.call('ZADD', lease_index, unpack(expiry))

local out = {now_text, '', string.format('%.0f', token), refused}
for i, message in ipairs(messages) do
  out[#out + 1] = tags[i]
  out[#out + 1] = from[i] - 1
  out[#out + 1] = message
end
return out
