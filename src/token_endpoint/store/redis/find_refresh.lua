-- KEYS: the refresh token.
local token = redis.call('HMGET', KEYS[1], 'family', 'expires_at')
if not token[1] or now >= tonumber(token[2]) then return {'none'} end
local text = active_family(token[1])
if not text then return {'none'} end
return {'found', text}
