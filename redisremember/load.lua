-- KEYS[1]: a remembered browser. Answers the server's clock, as seconds and
-- microseconds, and the value.
local now = redis.call('TIME')
return {now[1], now[2], redis.call('GET', KEYS[1])}
