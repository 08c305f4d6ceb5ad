// Figures, ports and logs.
import assert from 'node:assert/strict'
import { api, create, group, run, test, until } from './harness.mjs'

group('metrics')

test('figures have every field and move with the load', async () => {
  const sandbox = await create()
  const latest = async () => (await sandbox.getMetrics()).at(-1)
  const idle = await until(latest, 'a first sample')
  for (const field of ['cpuCount', 'cpuUsedPct', 'memUsed', 'memTotal', 'diskUsed', 'diskTotal']) assert.equal(typeof idle[field], 'number', field)
  assert.ok(idle.timestamp instanceof Date)
  const busy = await sandbox.commands.run('while :; do :; done', { background: true, timeoutMs: 0 })
  const loaded = await until(async () => {
    const m = await latest()
    return m.cpuUsedPct > idle.cpuUsedPct + 5 && m
  }, 'a busy loop to show')
  assert.ok(loaded.cpuUsedPct <= 100.5 * loaded.cpuCount)
  await busy.kill()
})

test('a hundred megabytes show in the figures as about that', async () => {
  const sandbox = await create()
  const latest = async () => (await sandbox.getMetrics()).at(-1)
  const before = (await until(latest, 'a first sample')).memUsed
  const holder = await sandbox.commands.run(`exec perl -e '$x = "x" x 104857600; print "ready\\n"; $| = 1; sleep 1000'`, { background: true, timeoutMs: 0 })
  const grown = await until(async () => {
    const m = await latest()
    return m.memUsed > before + 80e6 && m.memUsed - before
  }, 'the memory to show')
  assert.ok(grown < 230e6, `grew by ${grown}`) // perl keeps a copy of a constant expression
  await holder.kill()
})

test('figures are asked for in a span of time', async () => {
  const sandbox = await create()
  await until(async () => (await sandbox.getMetrics()).length > 0, 'a first sample')
  assert.deepEqual(await sandbox.getMetrics({ end: new Date(Date.now() - 3_600_000) }), [])
})

test('figures of many sandboxes come in one answer, without those that are not there', async () => {
  const [one, other] = await Promise.all([create(), create()])
  const ids = [one.sandboxId, other.sandboxId]
  const { sandboxes } = await until(async () => {
    const answer = await (await api(`/sandboxes/metrics?sandbox_ids=${ids},inosuchsandbox0000000`)).json()
    return Object.keys(answer.sandboxes).length === 2 && answer
  }, 'a first sample of both')
  assert.deepEqual(Object.keys(sandboxes).sort(), ids.sort())
  assert.ok(sandboxes[one.sandboxId].memTotal > 0)
})

group('ports and logs')

test('a port of a program inside answers through the host, and a closed one says so', async () => {
  const sandbox = await create()
  await sandbox.commands.run('mkdir web; echo from inside >web/index.html')
  const server = await sandbox.commands.run('exec python3 -m http.server 8123 --bind 127.0.0.1 --directory web', { background: true, timeoutMs: 0 })
  const ask = (port) => fetch(process.env.E2B_SANDBOX_URL + '/index.html', { headers: { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': String(port) } })
  const answer = await until(async () => {
    const a = await ask(8123)
    return a.status === 200 && a
  }, 'the server inside')
  assert.equal(await answer.text(), 'from inside\n')
  const closed = await ask(8124)
  assert.equal(closed.status, 502)
  const body = await closed.json()
  assert.equal(body.port, 8124)
  assert.equal(body.message, 'The sandbox is running but port is not open')
  await server.kill()
})

test('the log tells of commands that ran', async () => {
  const sandbox = await create()
  await sandbox.commands.run('true')
  const entries = await until(async () => {
    const { logs } = await (await api(`/v2/sandboxes/${sandbox.sandboxId}/logs`)).json()
    return logs.some((e) => e.message === 'process ended') && logs
  }, 'the log line')
  assert.equal(entries.find((e) => e.message === 'process ended').fields.status, 'exit status 0')
  const old = await (await api(`/sandboxes/${sandbox.sandboxId}/logs`)).json()
  assert.equal(old.logs.length, old.logEntries.length)
})

await run()
