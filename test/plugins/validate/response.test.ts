import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { gateway, readableLog, type Scope, upstream } from '../../helpers.ts'

const document = `openapi: "3.1.0"
paths:
  /item:
    get:
      responses:
        "200":
          headers: { X-Total: { required: true, schema: { type: integer } } }
          content:
            application/json: { schema: { $ref: "#/components/schemas/Item" } }
            text/event-stream: {}
        4XX: { content: { text/plain: {} } }
components:
  schemas:
    Item:
      type: object
      required: [id, secret]
      properties:
        id: { type: integer }
        secret: { writeOnly: true }
        tags: { type: array, items: { type: string } }
`

interface Sent {
  readonly status?: number
  readonly type?: string
  readonly total?: string
  readonly body: string | Buffer
  readonly coding?: string
}

const JSON_BODY = { type: 'application/json', total: '1' }

/** Builds a gateway whose upstream sends what the test has set last. */
async function shop(
  t: Scope & { testdir(files: Record<string, string>): string },
  response: unknown,
  options: object = {}
) {
  const sent: { next: Sent } = { next: { body: '' } }
  const origin = await upstream(t, (_request, answer) => {
    const { status = 200, type, total, body, coding } = sent.next
    if (type !== undefined) answer.setHeader('content-type', type)
    if (total !== undefined) answer.setHeader('x-total', total)
    if (coding !== undefined) answer.setHeader('content-encoding', coding)
    answer.writeHead(status).end(body)
  })
  const log = readableLog('warn')
  const folder = t.testdir({ 'shop.yaml': document })
  const app = await gateway(
    t,
    {
      routes: [
        {
          name: 'shop',
          path: '/*',
          validate: { openapi: `${folder}/shop.yaml`, response },
          proxy: { upstream: origin },
          ...options
        }
      ]
    },
    { log: log.log }
  )
  return { app, sent, log }
}

const countOf = (app: FastifyInstance): number => app.responseFaults?.families()[0]?.values[0]?.value ?? 0

t.test('responses are compared with the document and sent as they are', async (t) => {
  const { app, sent, log } = await shop(t, true)
  const cases: [what: string, sent: Sent, faults: string[]][] = [
    ['valid', { ...JSON_BODY, body: '{"id":1}' }, []],
    ['wrong', { ...JSON_BODY, body: '{"id":"x","tags":["a",1,2]}' }, ['/id type', '/tags/* type']],
    ['wrong again', { ...JSON_BODY, body: '{"id":"y"}' }, []],
    ['no JSON', { ...JSON_BODY, body: '{' }, [' json']],
    ['a coded body', { ...JSON_BODY, body: gzipSync('[]'), coding: 'gzip' }, [' type']],
    ['a header', { type: 'application/json', body: '{"id":1}' }, [' header']],
    ['a media type', { type: 'text/html', total: '1', body: '<p>' }, [' mediaType']],
    ['a status', { status: 500, body: '' }, [' status']],
    ['a range of statuses', { status: 404, type: 'text/plain', body: 'none' }, []],
    ['an event stream', { type: 'text/event-stream', body: 'data: {}\n\n' }, []],
    ['over 1 MB', { ...JSON_BODY, body: JSON.stringify({ id: 'x'.repeat(2 ** 20), z: 1 }) }, []]
  ]
  let count = 0
  for (const [what, next, faults] of cases) {
    sent.next = next
    const before = log.lines.length
    const known = new Set(log.lines)
    const answer = await app.inject('/item')
    t.equal(answer.statusCode, next.status ?? 200, what)
    t.ok(answer.rawPayload.equals(Buffer.from(next.body)), `${what}: the same bytes`)
    for (const fault of faults)
      await log.line(
        (line) =>
          !known.has(line) && `${String(line['pointer']).slice(1)} ${String(line['keyword'])}` === fault
      )
    for (let i = 0; i < 20; i++) await turn()
    const lines = log.lines
      .slice(before)
      .filter(({ msg }) => String(msg).startsWith('response does not match'))
    t.strictSame(
      lines.map(({ pointer, keyword }) => `${String(pointer).slice(1)} ${String(keyword)}`),
      faults,
      what
    )
    if (faults.length > 0 || what === 'wrong again') count++
  }
  t.equal(countOf(app), count, 'each response with a fault is counted')
  t.notMatch(JSON.stringify(log.lines), /"x"/, 'no value is logged')
  t.equal(app.buffers.held, 0)
})

t.test('what transform makes of a response is compared', async (t) => {
  const { app, sent } = await shop(t, true, { transform: { response: { set: { id: 'text' } } } })
  sent.next = { ...JSON_BODY, body: '{"id":1}' }
  t.equal((await app.inject('/item')).json<{ id: unknown }>().id, 'text')
  for (let i = 0; i < 20; i++) await turn()
  t.equal(countOf(app), 1)
})

t.test('a sample of responses is compared', async (t) => {
  for (const [response, count] of [
    [{ sample: '0%' }, 0],
    [{ sample: '100%' }, 1],
    [false, 0]
  ] as const) {
    const { app, sent } = await shop(t, response)
    sent.next = { status: 500, body: '' }
    await app.inject('/item')
    t.equal(countOf(app), count)
  }
})

t.test('"response" needs a document', async (t) => {
  await t.rejects(gateway(t, { routes: [{ path: '/', validate: { response: true }, respond: {} }] }), {
    message: /validate\.response: expected "openapi" beside it/
  })
})
