import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { conformance, gateway, runChecks, upstream } from 'sallyport/testing'
import * as webhookSignature from 'sallyport-webhook-signature'

const SECRET = 'a secret of the tests'
const FORMER = 'the secret before it'
const extensions = [{ module: 'sallyport-webhook-signature' }]
const body = '{"action":"opened"}'

/** Returns the request of a webhook with a signature. */
const signed = (signature) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature },
  body
})
const hmac = (secret, text = body) => createHmac('sha256', secret).update(text).digest('hex')

test('accepts a body that one of the secrets has signed, and no other', async (t) => {
  const service = await upstream(t)
  const app = await gateway(t, {
    extensions,
    webhookSignature: { secrets: [SECRET, FORMER] },
    routes: [{ path: '/hooks', proxy: { upstream: service.url } }]
  })
  const cases = [
    [`sha256=${hmac(SECRET)}`, 200],
    [`sha256=${hmac(FORMER)}`, 200],
    [`sha256=${hmac('another secret')}`, 401],
    [`sha256=${hmac(SECRET, `${body} `)}`, 401],
    [hmac(SECRET), 401],
    ['', 401]
  ]
  for (const [signature, status] of cases) {
    const response = await app.fetch('/hooks', signed(signature))
    assert.equal(response.status, status, signature)
    if (status === 401) assert.equal((await response.json()).code, 'SP_ERR_WEBHOOK_SIGNATURE_INVALID')
  }
  assert.deepEqual(
    service.requests.map((request) => request.body),
    [body, body],
    'the service gets the same bytes'
  )
})

test('has the header and the prefix of other senders', async (t) => {
  const app = await gateway(t, {
    extensions,
    webhookSignature: { secrets: [SECRET], header: 'x-gitea-signature', prefix: '' },
    routes: [{ path: '/hooks', respond: { body: 'fine' } }]
  })
  const response = await app.fetch('/hooks', {
    method: 'POST',
    headers: { 'x-gitea-signature': hmac(SECRET) },
    body
  })
  assert.equal(response.status, 200)
})

test('refuses a body that is too large', async (t) => {
  const app = await gateway(t, {
    extensions,
    webhookSignature: { secrets: [SECRET], maxBody: '10b' },
    routes: [{ path: '/hooks', respond: { body: 'fine' } }]
  })
  assert.equal((await app.fetch('/hooks', signed(`sha256=${hmac(SECRET)}`))).status, 413)
})

test('keeps the promises of a concern', (t) =>
  runChecks(
    t,
    conformance(webhookSignature, {
      config: {
        extensions,
        webhookSignature: { secrets: [SECRET] },
        routes: [{ path: '/', respond: { body: 'fine' } }]
      },
      passed: { path: '/', ...signed(`sha256=${hmac(SECRET)}`) },
      refused: { path: '/', ...signed('sha256=0') }
    })
  ))
