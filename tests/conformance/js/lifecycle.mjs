// Pausing and resuming, figures, ports and the errors of the control API.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { api, create, failure, run, test, until } from './harness.mjs'

test('a paused sandbox keeps its memory and goes on where it was', async () => {
  const sandbox = await create()
  const counter = await sandbox.commands.run('n=0; while :; do n=$((n+1)); echo $n >count; sleep 0.02; done', { background: true, timeoutMs: 0 })
  await until(async () => Number(await sandbox.files.read('count').catch(() => '0')) > 3, 'the counter counts')
  assert.equal(await sandbox.pause(), true)
  assert.equal((await sandbox.getInfo()).state, 'paused')
  assert.equal(await sandbox.isRunning(), false)
  const again = await Sandbox.connect(sandbox.sandboxId)
  const first = Number(await again.files.read('count'))
  assert.ok((await again.commands.list()).some((p) => p.pid === counter.pid), 'the process is the same')
  await until(async () => Number(await again.files.read('count')) > first, 'the counter goes on')
  assert.equal((await again.getInfo()).state, 'running')
})

test('nothing runs while a sandbox is paused', async () => {
  const sandbox = await create()
  await sandbox.commands.run('while :; do date +%s%N >>ticks; sleep 0.02; done', { background: true, timeoutMs: 0 })
  await until(async () => (await sandbox.files.read('ticks').catch(() => '')).length > 0, 'the ticks begin')
  await sandbox.pause()
  await new Promise((over) => setTimeout(over, 1_200)) // what must not be seen is time that passes inside
  await sandbox.connect()
  const times = await until(async () => {
    const ticks = (await sandbox.files.read('ticks')).trim().split('\n').map((t) => Number(t) / 1e9)
    const gaps = ticks.slice(1).map((t, i) => t - ticks[i])
    return Math.max(...gaps) > 1 && gaps
  }, 'a gap in the ticks')
  assert.equal(times.filter((gap) => gap > 1).length, 1)
})

test('pausing twice says so, and connecting resumes once', async () => {
  const sandbox = await create()
  assert.equal(await sandbox.pause(), true)
  assert.equal(await Sandbox.pause(sandbox.sandboxId), false)
  const answer = await api(`/sandboxes/${sandbox.sandboxId}/connect`, { method: 'POST', body: '{"timeout":60}' })
  assert.equal(answer.status, 201)
  const second = await api(`/sandboxes/${sandbox.sandboxId}/connect`, { method: 'POST', body: '{"timeout":60}' })
  assert.equal(second.status, 200)
})

test('a paused sandbox has no end of its lease and is found by its state', async () => {
  const mark = `paused${Date.now()}`
  const sandbox = await create({ metadata: { mark }, timeoutMs: 3_000 })
  const other = await create({ metadata: { mark } })
  await sandbox.pause()
  const list = async (state) => (await Sandbox.list({ query: { metadata: { mark }, state } }).nextItems()).map((x) => x.sandboxId)
  await new Promise((over) => setTimeout(over, 3_500)) // longer than the lease was
  assert.deepEqual(await list(['paused']), [sandbox.sandboxId])
  assert.deepEqual(await list(['running']), [other.sandboxId])
  assert.equal((await list(['running', 'paused'])).length, 2)
  assert.equal(await Sandbox.kill(sandbox.sandboxId), true)
  assert.deepEqual(await list(['paused']), [])
})

test('a lease that ends in a pause keeps the sandbox', async () => {
  const sandbox = await create('base', { timeoutMs: 600_000, lifecycle: { onTimeout: 'pause' } })
  await sandbox.files.write('kept', 'still here')
  await sandbox.setTimeout(1_000)
  await until(async () => (await sandbox.getInfo()).state === 'paused', 'the pause at the end of the lease')
  await sandbox.connect()
  assert.equal(await sandbox.files.read('kept'), 'still here')
})

test('a request for a sandbox that resumes by itself resumes it', async () => {
  const sandbox = await create('base', { lifecycle: { onTimeout: 'pause', autoResume: true } })
  await sandbox.pause()
  assert.equal((await sandbox.commands.run('echo awake')).stdout, 'awake\n')
  assert.equal((await sandbox.getInfo()).state, 'running')
})

test("a command's limit does not run while its sandbox is paused", async () => {
  const sandbox = await create()
  const handle = await sandbox.commands.run('sleep 2; echo finished >mark', { background: true, timeoutMs: 4_000 })
  handle.wait().catch(() => {}) // its connection ends with the pause
  await sandbox.pause()
  await new Promise((over) => setTimeout(over, 4_500)) // longer than the command's limit
  await sandbox.connect()
  await until(async () => (await sandbox.files.exists('mark')), 'the command ends by itself')
})

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
