import t from 'tap'
import { LINES, type WriteLine } from '../../src/lib/log-lines.ts'
import { gateway, readableLog, upstream } from '../helpers.ts'

t.test('a line that is written field by field says what the same line as an object says', async (t) => {
  const written: Record<string, unknown>[] = []
  const plain = readableLog()
  const quick = readableLog()
  const write: WriteLine = (level, fields) =>
    void written.push(JSON.parse(`{"level":"${level}",${fields}}`) as Record<string, unknown>)
  Object.assign(quick.log, { [LINES]: write })
  const strange = 'a "quoted"\\ \n\u0001 ünï\u{1f600} caller'
  const config = {
    accessLog: { headers: ['user-agent', 'authorization'] },
    auth: { apiKeys: { list: [{ id: strange, secret: 'key' }] }, mode: 'report' },
    rateLimit: { max: 5 },
    routes: [
      { path: '/up/*', name: 'a "name" of a route', proxy: { upstream: await upstream(t) } },
      { path: '/gone/*', proxy: { upstream: 'http://127.0.0.1:1' } },
      { path: '/own', auth: { mode: 'enforce' }, respond: { body: 'mine' } }
    ]
  }
  const cases = [
    { url: '/up/x?secret=1', headers: { 'x-api-key': 'key', 'user-agent': 'a "browser"\t' } },
    { url: '/up/%22%C3%BC', headers: { authorization: 'Bearer hush' } },
    { url: '/own' },
    { url: '/own', headers: { 'x-api-key': 'key' }, method: 'POST' as const, payload: 'a body' },
    { url: '/gone/x' },
    { url: '/nowhere' },
    { url: '/nowhere' }
  ]
  const [one, other] = [
    await gateway(t, config, { log: plain.log }),
    await gateway(t, config, { log: quick.log })
  ]
  for (const each of cases) {
    await one.inject(each)
    await other.inject(each)
  }
  // What differs from run to run, whoever writes it.
  const steady = ({
    requestId,
    durationMs,
    upstreamMs,
    time: _time,
    target,
    ...rest
  }: Record<string, unknown>): object => ({
    ...rest,
    kinds: [typeof requestId, typeof durationMs, typeof upstreamMs, typeof target]
  })
  const lines = plain.lines.filter(({ status }) => status !== undefined)
  t.equal(written.length, cases.length)
  t.strictSame(written.map(steady), lines.map(steady))
  t.match(written[0], { caller: strange, route: 'a "name" of a route', path: '/up/x' })
  t.match(written[1], { wouldRefuse: ['auth SP_ERR_AUTH_MISSING'], headers: { authorization: '[redacted]' } })
  t.match(written.at(-1), { status: 429, refusedBy: 'rateLimit', code: 'SP_ERR_RATE_LIMIT_EXCEEDED' })
})
