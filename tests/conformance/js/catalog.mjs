// Templates and what else is kept beside sandboxes: a host that has one template and no snapshots says so.
import assert from 'node:assert/strict'
import { Sandbox, Template } from 'e2b'
import { api, failure, group, run, test } from './harness.mjs'

group('templates')

test('the template of the host exists under its name and its tag, another does not', async () => {
  assert.equal(await Template.exists('base'), true)
  assert.equal(await Template.exists('base:default'), true)
  assert.equal(await Template.exists('base:v2'), false)
  assert.equal(await Template.exists('some-other'), false)
})

test('the template has the tag that every build has', async () => {
  const tags = await Template.getTags('base')
  assert.deepEqual(tags.map((t) => t.tag), ['default'])
  assert.ok(tags[0].createdAt <= new Date())
  assert.equal((await failure(Template.getTags('some-other'))).name, 'TemplateError')
})

test('the list has the template with every field that the API promises', async () => {
  const answer = await api('/v2/templates')
  assert.equal(answer.headers.get('x-next-token'), null)
  const [base, ...others] = await answer.json()
  assert.equal(others.length, 0)
  assert.equal(base.templateID, 'base')
  assert.equal(base.buildStatus, 'ready')
  for (const field of ['buildID', 'cpuCount', 'memoryMB', 'diskSizeMB', 'public', 'aliases', 'names', 'createdAt', 'updatedAt', 'createdBy', 'lastSpawnedAt', 'spawnCount', 'buildCount', 'envdVersion']) assert.ok(field in base, field)
})

test('its one build is ready and says so until the end', async () => {
  const { builds } = await (await api('/templates/base')).json()
  const status = await Template.getBuildStatus({ templateId: 'base', buildId: builds[0].buildID })
  assert.equal(status.status, 'ready')
  assert.deepEqual(status.logEntries, [])
})

group('error: build and template')

test('building a template is refused with what to do instead', async () => {
  const error = await failure(Template.build(Template().fromImage('ubuntu:22.04'), 'mine'))
  assert.equal(error.name, 'BuildError')
  assert.match(error.message, /^501: .*the template `base`/)
})

test('a build in the background is refused at once', async () => {
  const error = await failure(Template.buildInBackground(Template().fromImage('ubuntu:22.04'), 'mine'))
  assert.equal(error.name, 'BuildError')
  assert.match(error.message, /^501/)
})

test('the status of a build that never was', async () => {
  const error = await failure(Template.getBuildStatus({ templateId: 'base', buildId: '00000000-0000-4000-8000-0000000000ff' }))
  assert.equal(error.name, 'BuildError')
  assert.match(error.message, /^404: build '/)
})

test('tags can be neither given nor taken', async () => {
  for (const error of [await failure(Template.assignTags('base', 'mine')), await failure(Template.removeTags('base', 'default'))]) {
    assert.equal(error.name, 'TemplateError')
    assert.match(error.message, /^501: Tags cannot be changed/)
  }
  assert.deepEqual((await Template.getTags('base')).map((t) => t.tag), ['default'])
})

group('snapshots and the rest')

test('there are no snapshots, and none is deleted', async () => {
  const pages = Sandbox.listSnapshots()
  assert.deepEqual(await pages.nextItems(), [])
  assert.equal(pages.hasNext, false)
  assert.equal(await Sandbox.deleteSnapshot('team/none:default'), false)
})

test('the template of the host cannot be deleted', async () => {
  const error = await failure(Sandbox.deleteSnapshot('base'))
  assert.match(error.message, /^400: .*cannot be deleted/)
  assert.equal(await Template.exists('base'), true)
})

test('lists of volumes and secrets are empty, and making one is refused', async () => {
  for (const kind of ['volumes', 'secrets']) {
    assert.deepEqual(await (await api(`/${kind}`)).json(), [])
    const made = await api(`/${kind}`, { method: 'POST', body: '{"name":"x"}' })
    assert.equal(made.status, 501)
    assert.equal((await made.json()).code, 501)
    assert.equal((await api(`/${kind}/x`)).status, 404)
  }
})

test('a page that no list has is refused', async () => {
  for (const path of ['/v2/templates?nextToken=x', '/snapshots?nextToken=x', '/snapshots?limit=0', '/v2/templates?limit=101']) {
    const answer = await api(path)
    assert.equal(answer.status, 400, path)
    assert.equal((await answer.json()).code, 400)
  }
})

await run()
