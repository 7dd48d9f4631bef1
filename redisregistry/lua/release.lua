-- Drops the places of sessions that are dead.
--
-- ARGV[1...] the sessions
readMarked()
for _, session in ipairs(ARGV) do
  vacate(session)
end
save()
return #sorted
