-- KEYS: ids. ARGV: 3 the id before the first one or empty, 4 the number of ids. Ids with the same score are in their order.
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local reply = {clock, 'found'}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[4])) do reply[#reply + 1] = id end
return reply
