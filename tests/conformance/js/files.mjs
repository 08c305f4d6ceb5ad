// Files and directories.
import assert from 'node:assert/strict'
import { create, failure, group, run, test } from './harness.mjs'

const sandbox = await create()
const home = '/home/user'

group('files')

test('a file is written with its parents and read back', async () => {
  const info = await sandbox.files.write(`${home}/a/b/c.txt`, 'hello')
  assert.equal(info.path, `${home}/a/b/c.txt`)
  assert.equal(info.name, 'c.txt')
  assert.equal(info.type, 'file')
  assert.equal(await sandbox.files.read(`${home}/a/b/c.txt`), 'hello')
  assert.equal((await sandbox.commands.run('stat -c %U a/b')).stdout, 'user\n')
})

test('a shorter content replaces a longer one whole', async () => {
  await sandbox.files.write('same.txt', 'a long content')
  await sandbox.files.write('same.txt', 'short')
  assert.equal(await sandbox.files.read('same.txt'), 'short')
})

test('names with spaces, plus, percent and umlauts go both ways', async () => {
  const name = `${home}/s p+a%20ce &ä?.txt`
  await sandbox.files.write(name, 'x')
  assert.equal(await sandbox.files.read(name), 'x')
  assert.deepEqual((await sandbox.files.list(home)).filter((e) => e.path === name).length, 1)
})

test('bytes of every value come back as they went', async () => {
  const bytes = Uint8Array.from({ length: 256 * 1024 }, (_, i) => (i * 7 + (i >> 8)) & 255)
  await sandbox.files.write('bytes', bytes.buffer)
  const back = await sandbox.files.read('bytes', { format: 'bytes' })
  assert.deepEqual(Buffer.from(back), Buffer.from(bytes))
})

test('several files go up in one request, each to its own path', async () => {
  const infos = await sandbox.files.write([
    { path: `${home}/m/1.txt`, data: 'one' },
    { path: `${home}/m/deep/2.txt`, data: 'two' },
    { path: 'm3.txt', data: 'three' },
  ])
  assert.deepEqual(infos.map((i) => i.path), [`${home}/m/1.txt`, `${home}/m/deep/2.txt`, `${home}/m3.txt`])
  assert.equal(await sandbox.files.read(`${home}/m/deep/2.txt`), 'two')
})

test('a compressed upload and a compressed download are what was meant', async () => {
  const text = 'line of text\n'.repeat(50_000)
  await sandbox.files.write('packed.txt', text, { gzip: true })
  assert.equal((await sandbox.commands.run('wc -c <packed.txt')).stdout.trim(), String(text.length))
  assert.equal(await sandbox.files.read('packed.txt', { gzip: true }), text)
})

test('an upload as plain bytes and a download as a stream work', async () => {
  await sandbox.files.write('octets', 'raw bytes', { useOctetStream: true })
  const stream = await sandbox.files.read('octets', { format: 'stream' })
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  assert.equal(Buffer.concat(pieces).toString(), 'raw bytes')
})

test('metadata of an upload comes back with the file', async () => {
  await sandbox.files.write('labelled', 'x', { metadata: { Origin: 'test 1' } })
  const info = await sandbox.files.getInfo('labelled')
  assert.deepEqual(info.metadata, { origin: 'test 1' })
})

test('reading what is not there is file-not-found, reading a directory is refused', async () => {
  assert.equal((await failure(sandbox.files.read('/no/such/file'))).name, 'FileNotFoundError')
  assert.match((await failure(sandbox.files.read('/tmp'))).message, /is a directory/)
})

test('a listing tells names, kinds, sizes and modes, as deep as asked', async () => {
  await sandbox.commands.run('mkdir -p l/in/deep; printf 12345 >l/five; chmod 640 l/five; ln -s five l/link')
  const shallow = await sandbox.files.list('l')
  assert.deepEqual(shallow.map((e) => e.name), ['five', 'in', 'link'])
  const five = shallow[0]
  assert.equal(five.type, 'file')
  assert.equal(five.size, 5)
  assert.equal(five.mode, 0o640)
  assert.equal(five.permissions, '-rw-r-----')
  assert.equal(five.owner, 'user')
  assert.equal(shallow[1].type, 'dir')
  assert.equal(shallow[2].symlinkTarget, `${home}/l/five`)
  const deep = await sandbox.files.list('l', { depth: 2 })
  assert.deepEqual(deep.map((e) => e.path), [`${home}/l/five`, `${home}/l/in`, `${home}/l/in/deep`, `${home}/l/link`])
})

test('information on a file has its size and the time it was changed', async () => {
  await sandbox.files.write('dated', '123')
  const info = await sandbox.files.getInfo('dated')
  assert.equal(info.size, 3)
  assert.ok(Math.abs(info.modifiedTime.getTime() - Date.now()) < 20_000)
  assert.equal((await failure(sandbox.files.getInfo('/no/such'))).name, 'FileNotFoundError')
})

test('a directory is made once, exists, and is removed with all in it', async () => {
  assert.equal(await sandbox.files.makeDir('made/inner'), true)
  assert.equal(await sandbox.files.makeDir('made/inner'), false)
  await sandbox.files.write('made/inner/f', '1')
  assert.equal(await sandbox.files.exists('made/inner/f'), true)
  await sandbox.files.remove('made')
  assert.equal(await sandbox.files.exists('made'), false)
  await sandbox.files.remove('made') // what is not there is removed
})

test('a rename moves the file and says where it is', async () => {
  await sandbox.files.write('old', 'content')
  const entry = await sandbox.files.rename('old', `${home}/new place/new`)
  assert.equal(entry.path, `${home}/new place/new`)
  assert.equal(await sandbox.files.exists('old'), false)
  assert.equal(await sandbox.files.read('new place/new'), 'content')
  assert.equal((await failure(sandbox.files.rename('missing', 'x'))).name, 'FileNotFoundError')
})

await run()
