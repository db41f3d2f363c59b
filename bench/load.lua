-- For wrk: takes the next token for each request, so that a fresh one can be shown every time; prints one JSON line.
--   wrk … -s load.lua URL -- TOKENS_FILE FIRST COUNT   (COUNT 1: always the same token; 0: none)
local requests, at = {}, 0

function init(args)
   local file, first, count = args[1], tonumber(args[2]), tonumber(args[3])
   if count == 0 then
      requests[1] = wrk.format("GET")
      return
   end
   local line = 0
   for token in io.lines(file) do
      if line >= first and line < first + count then
         requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
      end
      line = line + 1
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"bad_status":%d,"socket_errors":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      latency:percentile(99.9), e.status, e.connect + e.read + e.write + e.timeout))
end
