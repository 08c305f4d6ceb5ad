// Watched directories.
import assert from 'node:assert/strict'
import { FilesystemEventType } from 'e2b'
import { create, failure, group, run, test, until } from './harness.mjs'

const sandbox = await create()

async function watched(path, options) {
  await sandbox.files.makeDir(path)
  const events = []
  const handle = await sandbox.files.watchDir(path, (event) => events.push(event), options)
  const seen = (type, name) => until(() => events.find((e) => e.type === type && e.name === name), `${type} ${name} in ${JSON.stringify(events)}`)
  return { events, handle, seen }
}

group('watch')

test('a watch tells of a new file, of its content and of its end', async () => {
  const { events, handle, seen } = await watched('w1')
  await sandbox.files.write('w1/f', 'x')
  await seen(FilesystemEventType.WRITE, 'f')
  await sandbox.files.remove('w1/f')
  await seen(FilesystemEventType.REMOVE, 'f')
  assert.equal(events[0].type, FilesystemEventType.CREATE)
  assert.equal(events[0].name, 'f')
  await handle.stop()
})

test('a rename is told as the old name and the new one', async () => {
  await sandbox.files.write('w2/old', 'x')
  const { events, handle, seen } = await watched('w2')
  await sandbox.files.rename('w2/old', 'w2/new')
  await seen(FilesystemEventType.CREATE, 'new')
  assert.deepEqual(events.map((e) => [e.type, e.name]), [[FilesystemEventType.RENAME, 'old'], [FilesystemEventType.CREATE, 'new']])
  await handle.stop()
})

test('a changed mode is told as such', async () => {
  await sandbox.files.write('w3/f', 'x')
  const { events, handle, seen } = await watched('w3')
  await sandbox.commands.run('chmod 600 w3/f')
  await seen(FilesystemEventType.CHMOD, 'f')
  assert.equal(events.length, 1)
  await handle.stop()
})

test('a recursive watch names files below, also in directories made later', async () => {
  const { handle, seen } = await watched('w4', { recursive: true })
  await sandbox.files.write('w4/a/b/f', 'x')
  await seen(FilesystemEventType.CREATE, 'a/b/f')
  await sandbox.files.write('w4/a/b/g', 'x')
  await seen(FilesystemEventType.WRITE, 'a/b/g')
  await handle.stop()
})

test('without recursion nothing below is told', async () => {
  const { events, handle, seen } = await watched('w5')
  await sandbox.files.makeDir('w5/d')
  await sandbox.files.write('w5/d/hidden', 'x')
  await sandbox.files.write('w5/last', 'x')
  await seen(FilesystemEventType.WRITE, 'last')
  assert.equal(events.some((e) => e.name.includes('hidden')), false)
  await handle.stop()
})

test('a watch that was stopped is silent', async () => {
  const { events, handle, seen } = await watched('w6')
  await sandbox.files.write('w6/first', 'x')
  await seen(FilesystemEventType.WRITE, 'first')
  await handle.stop()
  const before = events.length
  const second = await watched('w6')
  await sandbox.files.write('w6/second', 'x')
  await second.seen(FilesystemEventType.WRITE, 'second')
  assert.equal(events.length, before)
  await second.handle.stop()
})

test('a directory that is not there cannot be watched, nor can a file', async () => {
  assert.equal((await failure(sandbox.files.watchDir('/no/such', () => {}))).name, 'FileNotFoundError')
  await sandbox.files.write('plain', 'x')
  assert.equal((await failure(sandbox.files.watchDir('plain', () => {}))).name, 'InvalidArgumentError')
})

await run()
