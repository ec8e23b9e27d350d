-- Executes a method that reads.

return methods[ARGV[1]](cjson.decode(ARGV[2]))
