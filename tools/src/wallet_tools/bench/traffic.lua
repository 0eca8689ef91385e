-- Requests for wrk, made anew for each call. Arguments: kind prefix pool distance batch seed stem.
-- Says in `done`, as one line of JSON, what was sent and what came of it.

local threads = {}

function setup(thread)
  thread:set("number", #threads + 1)
  table.insert(threads, thread)
end

function init(args)
  kind, prefix = args[1], args[2] .. "-" .. number .. "-"
  pool, distance, batch = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  math.randomseed(tonumber(args[6]) + number)
  stem = args[7]
  head = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n"
  if wrk.headers["Authorization"] then
    head = head .. "Authorization: " .. wrk.headers["Authorization"] .. "\r\n"
  end
  sent, repeated, entries, fresh = 0, 0, 0, 0
  ring = {}
end

local function wallet()
  return stem .. "-" .. math.random(0, pool - 1)
end

local function post(path, body)
  return "POST " .. path .. head .. "Content-Type: application/json\r\nContent-Length: "
    .. #body .. "\r\n\r\n" .. body
end

local function order(id, verb, n, rest)
  local body = '{"amount":"1.00","requestId":"' .. prefix .. n .. '"' .. rest .. "}"
  return post("/v1/wallets/" .. id .. "/" .. verb, body)
end

local function deposit()
  fresh = fresh + 1
  entries = entries + 1
  return order(wallet(), "deposit", fresh, "")
end

local makers = { deposit = deposit }

function makers.hold()
  fresh = fresh + 1
  entries = entries + 1
  return order(wallet(), "holds", fresh, "")
end

function makers.read()
  return "GET /v1/wallets/" .. wallet() .. head .. "\r\n"
end

function makers.mixed()
  local turn = sent % 3
  if turn == 0 then
    return deposit()
  end
  fresh = fresh + 1
  if turn == 1 then
    entries = entries + 1
    return order(wallet(), "withdraw", fresh, "")
  end
  entries = entries + 2
  local from = math.random(0, pool - 1)
  local to = (from + math.random(1, pool - 1)) % pool
  return order("bench-" .. from, "transfer", fresh, ',"toWalletId":"bench-' .. to .. '"')
end

function makers.replays()
  local old = ring[fresh - distance]
  if sent % 10 == 0 and old then
    repeated = repeated + 1
    return old
  end
  local request = deposit()
  ring[fresh] = request
  ring[fresh - distance - 16] = nil
  return request
end

function makers.bulk()
  local commands = {}
  for place = 1, batch do
    fresh = fresh + 1
    commands[place] = '{"type":"deposit","walletId":"' .. wallet()
      .. '","amount":"1.00","requestId":"' .. prefix .. fresh .. '"}'
  end
  entries = entries + batch
  return post("/v1/batches", '{"atomic":false,"commands":[' .. table.concat(commands, ",") .. "]}")
end

function request()
  sent = sent + 1
  return makers[kind]()
end

function done(summary, latency, _)
  local totals = { sent = 0, repeated = 0, entries = 0 }
  for _, thread in ipairs(threads) do
    for name, total in pairs(totals) do
      totals[name] = total + thread:get(name)
    end
  end
  local errors = summary.errors
  io.write(string.format(
    '{"sent":%d,"repeated":%d,"entries":%d,"answered":%d,"duration_us":%d,'
      .. '"p50_us":%d,"p95_us":%d,"p99_us":%d,'
      .. '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\n',
    totals.sent, totals.repeated, totals.entries, summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
