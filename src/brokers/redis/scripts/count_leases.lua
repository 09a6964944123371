-- Counts what Errand's workers hold of one queue.
--
-- KEYS  leases
-- ARGV  the queue's lists
-- Returns the number.
local lists, count = {}, 0
for _, list in ipairs(ARGV) do lists[list] = true end
for _, record in ipairs(redis.call('HVALS', KEYS[1])) do
  local list = string.match(record, '^%d+|[^|]*|(.*)$')
  if list and lists[list] then count = count + 1 end
end
return count
