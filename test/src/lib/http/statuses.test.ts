import t from 'tap'
import { loadConfig } from '../../../../src/index.ts'
import { registeredStatuses, type StatusOption, statusMatcher } from '../../../../src/lib/http/statuses.ts'

t.test('matches statuses, classes and ranges in every form', async (t) => {
  const cases: [options: StatusOption[], matched: number[], others: number[]][] = [
    [[404], [404], [403, 405]],
    [['404'], [404], [403, 405]],
    [['4xx'], [400, 404, 499], [399, 500]],
    [['200-299'], [200, 204, 299], [199, 300]],
    [['299-200'], [200, 204, 299], [199, 300]],
    [
      ['2xx', 304],
      [200, 304],
      [302, 305]
    ],
    [[], [], [200]]
  ]
  for (const [options, matched, others] of cases) {
    const matches = statusMatcher(options)
    for (const status of matched) t.ok(matches(status), `${options.join()} has ${status}`)
    for (const status of others) t.notOk(matches(status), `${options.join()} has no ${status}`)
  }
})

t.test('lists what a description names', async (t) => {
  t.same(registeredStatuses([404, '499', '500-502']), [404, 499, 500, 501, 502])
  t.ok(registeredStatuses(['4xx']).includes(418))
})

t.test('refuses what is no status, with what would work', async (t) => {
  const leg = { upstream: 'http://localhost:1', path: '/' }
  const withStatus = (status: unknown): [option: string, config: object][] => [
    ['retry.on', { proxy: { upstream: 'http://localhost:1', retry: { on: [status] } } }],
    ['pass', { aggregate: { legs: { a: { ...leg, pass: [status] } } } }]
  ]
  for (const status of ['4x', '4XX', '200-', '600', 600, 'ok', true, '5xx-599', 99])
    for (const [option, route] of withStatus(status))
      await t.rejects(
        loadConfig({ routes: [{ path: '/', ...route }] }, {}),
        /an error status such as (503|404), "[45]xx"/,
        `${option}: ${String(status)}`
      )
  for (const status of ['6xx', 99, [], false])
    await t.rejects(
      loadConfig(
        { upstreams: { up: { url: 'http://localhost:1', health: { status: [status] } } }, routes: [] },
        {}
      ),
      /a status such as 404, "4xx" or "200-299"/,
      `health.status: ${String(status)}`
    )
})
