-- For wrk: takes the next token for each request, so that a fresh one can be shown every time; prints one JSON line.
--   wrk … -s load.lua URL -- TOKENS_FILE FIRST COUNT   (COUNT 1: always the same token; 0: none; more: each once)
local requests, at, once = {}, 0, false

function init(args)
   local file, first, count = args[1], tonumber(args[2]), tonumber(args[3])
   if count == 0 then
      requests[1] = wrk.format("GET")
      return
   end
   once = count > 1
   local line = 0
   for token in io.lines(file) do
      if line >= first and line < first + count then
         requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
      end
      line = line + 1
   end
end

function request()
   if once and at == #requests then
      -- A second round would show tokens that were seen before.
      wrk.thread:stop()
   end
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
