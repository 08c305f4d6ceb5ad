// Access tokens and signed URLs.
import assert from 'node:assert/strict'
import { api, create, group, run, test } from './harness.mjs'

const sandbox = await create()
const base = process.env.E2B_SANDBOX_URL
const routed = { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }
// The SDK's URLs name the sandbox's own host only where there is a domain; here the headers do.
const open = (url, options = {}) => fetch(url, { ...options, headers: { ...routed, ...options.headers } })

group('secured sandboxes')

test('without the token nothing but the health of a sandbox is told', async () => {
  assert.equal((await open(`${base}/health`)).status, 204)
  const files = await open(`${base}/files?path=/etc/passwd`)
  assert.equal(files.status, 401)
  assert.equal((await files.json()).code, 401)
  for (const path of ['/metrics', '/envs']) assert.equal((await open(base + path)).status, 401)
})

test('without the token no command runs', async () => {
  const answer = await open(`${base}/process.Process/List`, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } })
  assert.equal(answer.status, 401)
  assert.match((await answer.json()).message, /unauthorized access/)
})

test('another token is refused, also beside a good signature', async () => {
  await sandbox.files.write('guarded', 'x')
  const url = await sandbox.downloadUrl('guarded')
  assert.equal((await open(url, { headers: { 'X-Access-Token': 'wrong' } })).status, 401)
  assert.equal((await open(url)).status, 200)
})

test("the token of one sandbox does not open another's", async () => {
  const other = await create()
  const tokenOf = async (id) => (await (await api(`/sandboxes/${id}`)).json()).envdAccessToken
  const ask = async (id) => (await open(`${base}/envs`, { headers: { 'X-Access-Token': await tokenOf(id) } })).status
  assert.equal(await ask(other.sandboxId), 401)
  assert.equal(await ask(sandbox.sandboxId), 200)
})

group('signed URLs')

test('a download URL gives the file without a token', async () => {
  await sandbox.files.write('/home/user/d 1+2.txt', 'signed content')
  const answer = await open(await sandbox.downloadUrl('/home/user/d 1+2.txt'))
  assert.equal(answer.status, 200)
  assert.equal(await answer.text(), 'signed content')
})

test('an upload URL takes the file without a token', async () => {
  const form = new FormData()
  form.append('file', new Blob(['uploaded']), 'ignored.txt')
  const answer = await open(await sandbox.uploadUrl('/home/user/up.txt'), { method: 'POST', body: form })
  assert.equal(answer.status, 200)
  assert.equal((await answer.json())[0].path, '/home/user/up.txt')
  assert.equal(await sandbox.files.read('/home/user/up.txt'), 'uploaded')
})

test('a signature is for its own path and operation', async () => {
  const url = new URL(await sandbox.downloadUrl('/home/user/up.txt'))
  url.searchParams.set('path', '/etc/passwd')
  assert.equal((await open(url)).status, 401)
  const upload = await sandbox.uploadUrl('/home/user/up.txt')
  assert.equal((await open(upload)).status, 401) // reading with a signature for writing
})

test('a signature serves until it expires and not with another end', async () => {
  await sandbox.files.write('/home/user/timed', 'y')
  const good = await sandbox.downloadUrl('/home/user/timed', { useSignatureExpiration: 60 })
  assert.equal(await (await open(good)).text(), 'y')
  const later = new URL(good)
  later.searchParams.set('signature_expiration', String(Number(later.searchParams.get('signature_expiration')) + 3600))
  assert.equal((await open(later)).status, 401)
  const over = await sandbox.downloadUrl('/home/user/timed', { useSignatureExpiration: -5 })
  const answer = await open(over)
  assert.equal(answer.status, 401)
  assert.match((await answer.json()).message, /expired/)
})

await run()
