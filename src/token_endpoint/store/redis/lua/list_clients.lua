-- KEYS: the clients of a part, their order. ARGV: 3 the client before the first one or empty, 4 the number of clients.
local from = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local reply = {clock, 'found'}
for _, client in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[4])) do
  local record = redis.call('HGET', KEYS[1], client)
  if record then reply[#reply + 1] = record end
end
return reply
