// Pausing and resuming.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { api, create, group, run, test, until } from './harness.mjs'

group('pause and resume')

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
  await new Promise((over) => setTimeout(over, 1_200)) // sleep: what must not be seen is time that passes inside
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
  await new Promise((over) => setTimeout(over, 3_500)) // sleep: longer than the lease was
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
  await new Promise((over) => setTimeout(over, 4_500)) // sleep: longer than the command's limit
  await sandbox.connect()
  await until(async () => (await sandbox.files.exists('mark')), 'the command ends by itself')
})

await run()
