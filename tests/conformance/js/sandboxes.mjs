// Creating, listing, connecting to and killing sandboxes.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'
import { api, create, failure, group, run, test, until } from './harness.mjs'

const list = async (query, options = {}) => (await Sandbox.list({ query, ...options }).nextItems()).map((x) => x.sandboxId)

group('create')

test('a created sandbox runs, says its id and serves until it is killed', async () => {
  const sandbox = await create()
  assert.match(sandbox.sandboxId, /^[a-z0-9]+$/)
  assert.equal(await sandbox.isRunning(), true)
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.isRunning(), false)
  assert.equal(await sandbox.kill(), false)
})

test('a sandbox keeps template, metadata and environment of its creation', async () => {
  const sandbox = await create('my-tpl', { metadata: { who: 'me & you', 'a=b': 'c d' }, envs: { COLOUR: 'blue' }, timeoutMs: 60_000 })
  const info = await sandbox.getInfo()
  assert.equal(info.templateId, 'my-tpl')
  assert.deepEqual(info.metadata, { who: 'me & you', 'a=b': 'c d' })
  assert.equal(info.state, 'running')
  assert.equal((await sandbox.commands.run('echo $COLOUR')).stdout, 'blue\n')
  const seconds = (info.endAt.getTime() - info.startedAt.getTime()) / 1000
  assert.ok(seconds > 55 && seconds < 65, `lease of ${seconds} s`)
  assert.ok(info.cpuCount >= 1 && info.memoryMB > 0)
})

test('a sandbox knows its own id and that it is one', async () => {
  const sandbox = await create()
  const out = await sandbox.commands.run('echo $E2B_SANDBOX $E2B_SANDBOX_ID')
  assert.equal(out.stdout, `true ${sandbox.sandboxId}\n`)
})

test('a sandbox without a word about its lease has one of five minutes', async () => {
  const info = await (await create()).getInfo()
  const seconds = (info.endAt.getTime() - info.startedAt.getTime()) / 1000
  assert.ok(seconds > 295 && seconds < 305, `lease of ${seconds} s`)
})

test('two sandboxes made at once have files and processes of their own', async () => {
  const [one, other] = await Promise.all([create(), create()])
  await one.files.write('/home/user/mine', 'x')
  await one.commands.run('exec sleep 1000', { background: true, timeoutMs: 0 })
  assert.equal(await other.files.exists('/home/user/mine'), false)
  assert.deepEqual(await other.commands.list(), [])
})

test('both generations of create and connect answer alike', async () => {
  const body = JSON.stringify({ templateID: 'base', timeout: 60 })
  for (const generation of ['', '/v2']) {
    const made = await api(`${generation}/sandboxes`, { method: 'POST', body })
    assert.equal(made.status, 201)
    const { sandboxID, envdVersion, clientID } = await made.json()
    assert.match(envdVersion, /^\d+\.\d+\.\d+$/)
    assert.equal(typeof clientID, 'string')
    const connected = await api(`${generation}/sandboxes/${sandboxID}/connect`, { method: 'POST', body: '{"timeout":60}' })
    assert.equal(connected.status, 200)
    assert.equal((await connected.json()).sandboxID, sandboxID)
    assert.equal((await api(`/sandboxes/${sandboxID}`, { method: 'DELETE' })).status, 204)
  }
})

group('list')

test('the list finds sandboxes by metadata that needs escaping', async () => {
  const mark = `m${Date.now()} & =x`
  const one = await create({ metadata: { 'k y': mark, n: '1' } })
  await create({ metadata: { 'k y': mark, n: '2' } })
  assert.deepEqual(await list({ metadata: { 'k y': mark, n: '1' } }), [one.sandboxId])
  assert.equal((await list({ metadata: { 'k y': mark } })).length, 2)
})

test('the list comes in pages that hold each sandbox once, newest first', async () => {
  const mark = `pages${Date.now()}`
  const made = []
  for (let i = 0; i < 3; ++i) made.push((await create({ metadata: { mark } })).sandboxId)
  const pages = Sandbox.list({ query: { metadata: { mark } }, limit: 2 })
  const first = await pages.nextItems()
  assert.equal(first.length, 2)
  assert.equal(pages.hasNext, true)
  const second = await pages.nextItems()
  assert.equal(second.length, 1)
  assert.equal(pages.hasNext, false)
  assert.deepEqual([...first, ...second].map((x) => x.sandboxId), made.reverse())
})

test('a list that nothing matches is empty and has no next page', async () => {
  const pages = Sandbox.list({ query: { metadata: { mark: `nobody${Date.now()}` } } })
  assert.deepEqual(await pages.nextItems(), [])
  assert.equal(pages.hasNext, false)
})

test('the list tells of a sandbox what its creation said', async () => {
  const mark = `told${Date.now()}`
  const made = await create('listed-tpl', { metadata: { mark }, timeoutMs: 90_000 })
  const [found] = await Sandbox.list({ query: { metadata: { mark } } }).nextItems()
  assert.equal(found.templateId, 'listed-tpl')
  assert.deepEqual(found.metadata, { mark })
  assert.equal(found.state, 'running')
  const info = await made.getInfo()
  assert.deepEqual([found.startedAt, found.endAt], [info.startedAt, info.endAt])
})

test('the list tells running and paused ones apart', async () => {
  const mark = `state${Date.now()}`
  const [runs, rests] = await Promise.all([create({ metadata: { mark } }), create({ metadata: { mark } })])
  await rests.pause()
  assert.deepEqual(await list({ metadata: { mark }, state: ['running'] }), [runs.sandboxId])
  assert.deepEqual(await list({ metadata: { mark }, state: ['paused'] }), [rests.sandboxId])
  assert.equal((await list({ metadata: { mark } })).length, 2)
})

group('connect')

test('a second client connects by id and sees the same files', async () => {
  const sandbox = await create()
  await sandbox.files.write('/home/user/shared.txt', 'from the first')
  const other = await Sandbox.connect(sandbox.sandboxId)
  assert.equal(other.sandboxId, sandbox.sandboxId)
  assert.equal(await other.files.read('/home/user/shared.txt'), 'from the first')
})

test('connect only moves the end later, setTimeout also earlier', async () => {
  const sandbox = await create({ timeoutMs: 600_000 })
  const before = (await sandbox.getInfo()).endAt.getTime()
  await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 10_000 })
  assert.ok((await sandbox.getInfo()).endAt.getTime() >= before)
  await sandbox.setTimeout(120_000)
  const left = (await sandbox.getInfo()).endAt.getTime() - Date.now()
  assert.ok(left > 110_000 && left < 125_000, `left: ${left} ms`)
})

test('connect makes a short lease as long as it says', async () => {
  const sandbox = await create({ timeoutMs: 60_000 })
  await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 600_000 })
  const left = (await sandbox.getInfo()).endAt.getTime() - Date.now()
  assert.ok(left > 590_000 && left < 605_000, `left: ${left} ms`)
})

test('a client that connects finds the processes of the one before', async () => {
  const sandbox = await create()
  const handle = await sandbox.commands.run('read line; echo "got $line"', { background: true, stdin: true, timeoutMs: 0 })
  const other = await Sandbox.connect(sandbox.sandboxId)
  assert.deepEqual((await other.commands.list()).map((p) => p.pid), [handle.pid])
  await other.commands.sendStdin(handle.pid, 'it\n')
  assert.equal((await handle.wait()).stdout, 'got it\n')
})

group('kill')

test('a sandbox whose lease is over is gone on the control API and at its own address', async () => {
  const sandbox = await create({ timeoutMs: 60_000 })
  await sandbox.setTimeout(1_000)
  await until(async () => !(await sandbox.isRunning()), 'the end of the lease')
  assert.equal(await Sandbox.kill(sandbox.sandboxId), false)
  const error = await failure(Sandbox.connect(sandbox.sandboxId))
  assert.equal(error.name, 'SandboxNotFoundError')
})

test('a sandbox is killed by its id once', async () => {
  const sandbox = await create()
  assert.equal(await Sandbox.kill(sandbox.sandboxId), true)
  assert.equal(await Sandbox.kill(sandbox.sandboxId), false)
})

test('killing one sandbox leaves the others and takes it off the list', async () => {
  const mark = `kill${Date.now()}`
  const [one, other] = await Promise.all([create({ metadata: { mark } }), create({ metadata: { mark } })])
  await one.kill()
  assert.deepEqual(await list({ metadata: { mark } }), [other.sandboxId])
  assert.equal((await other.commands.run('echo alive')).stdout, 'alive\n')
})

test('killing a sandbox ends the commands that run in it', async () => {
  const sandbox = await create()
  const handle = await sandbox.commands.run('exec sleep 1000', { background: true, timeoutMs: 0 })
  const ended = failure(handle.wait())
  await sandbox.kill()
  const error = await ended
  assert.notEqual(error.name, 'CommandExitError', 'it did not exit, its sandbox went')
  assert.match(error.message, /sandbox|terminated/i)
})

await run()
