import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, gateway, runChecks } from 'sallyport/testing'
import * as pluginName from 'sallyport-plugin-name'

const config = {
  extensions: [{ module: 'sallyport-plugin-name' }],
  routes: [{ path: '/', pluginName: { message: 'Good morning' } }]
}

test('responds with the message', async (t) => {
  const app = await gateway(t, config)
  const response = await app.fetch('/')
  assert.equal(response.status, 200)
  assert.deepEqual(await response.json(), { message: 'Good morning' })
  assert.equal((await app.fetch('/', { method: 'HEAD' })).status, 200)
})

test('keeps the promises of a target', (t) => runChecks(t, conformance(pluginName, { config })))
