-- KEYS: the access token.
local text = redis.call('GET', KEYS[1])
if not (text and is_active(cjson.decode(text))) then return {'none'} end
return {'found', text}
