// run.js runs cases with the ClickHouse client for JavaScript: one JSON object a line comes in on standard input, and what came
// back goes out on standard output, with the same id, in one or more lines:
//
//   in   {"id", "url", "database", "session", "do": one of the methods below, …its arguments}
//   out  {"id", "part": "text of the result"}, …, {"id", "done": true}
//        {"id", "done": true, "error": {"code", "message"}}
//
// Cases run at the same time, as many as come.
'use strict'

const readline = require('node:readline')
const { Readable } = require('node:stream')
const { ClickHouseLogLevel, createClient } = require('@clickhouse/client')

const clients = new Map()
const aborts = new Map() // by query

// clientOf returns the one client of a database and a session.
function clientOf({ url, database, session, compress }) {
  const key = [url, database, session, compress].join('\n')
  if (!clients.has(key)) {
    clients.set(key, createClient({
      url, database,
      ...(session && { session_id: session }),
      compression: { response: !!compress, request: !!compress },
      request_timeout: 60_000,
      max_open_connections: 64,
      log: { level: ClickHouseLogLevel.OFF },
    }))
  }
  return clients.get(key)
}

const methods = {
  // query sends a result's rows on as they come; of a format that does not stream, the whole.
  async query(client, c, part) {
    const result = await client.query({
      query: c.query, format: c.format, query_params: c.params, clickhouse_settings: c.settings,
    })
    if (!c.stream) {
      part(await result.text())
      return
    }
    for await (const rows of result.stream()) {
      part(rows.map((row) => row.text).join('\n') + '\n')
    }
  },

  async command(client, c) {
    await client.command({ query: c.query, query_params: c.params, clickhouse_settings: c.settings })
  },

  // insert takes rows as an array, or the text of a format as a stream.
  async insert(client, c) {
    const values = c.text === undefined ? c.values : Readable.from([Buffer.from(c.text, 'base64')], { objectMode: false })
    await client.insert({ table: c.table, columns: c.columns, values, format: c.format, clickhouse_settings: c.settings })
  },

  // copy inserts into a table what it has read, as objects.
  async copy(client, c) {
    const result = await client.query({ query: c.query, format: c.format, clickhouse_settings: c.settings })
    await client.insert({
      table: c.table, columns: c.columns, values: await result.json(), format: c.format, clickhouse_settings: c.settings,
    })
  },

  // exec sends a statement whose rows are a stream of bytes.
  async exec(client, c, part) {
    const { stream } = await client.exec({
      query: c.query, clickhouse_settings: c.settings,
      ...(c.text !== undefined && { values: Readable.from([Buffer.from(c.text, 'base64')], { objectMode: false }) }),
    })
    for await (const chunk of stream) part(chunk.toString())
  },

  // cancellable begins a query that abort gives up.
  async cancellable(client, c) {
    const abort = new AbortController()
    aborts.set(c.query, abort)
    const result = await client.query({
      query: c.query, format: c.format, clickhouse_settings: c.settings, abort_signal: abort.signal,
    })
    for await (const rows of result.stream()) rows.length
  },

  async abort(client, c) {
    aborts.get(c.query).abort()
  },
}

async function run(c) {
  const say = (what) => process.stdout.write(JSON.stringify({ id: c.id, ...what }) + '\n')
  try {
    await methods[c.do](clientOf(c), c, (text) => say({ part: text }))
    say({ done: true })
  } catch (e) {
    say({ done: true, error: { code: Number(e.code) || 0, message: String(e.message ?? e) } })
  }
}

const running = []
readline.createInterface({ input: process.stdin, crlfDelay: Infinity })
  .on('line', (line) => running.push(run(JSON.parse(line))))
  .on('close', async () => {
    await Promise.all(running)
    await Promise.all([...clients.values()].map((client) => client.close()))
  })
