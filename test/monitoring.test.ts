import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parser as promql } from '@prometheus-io/lezer-promql'
import t, { type Test } from 'tap'
import { ask, missing, running, upstream } from './helpers.ts'
import { parseDocuments } from './kubernetes.ts'
import { receiver } from './plugins/tracing/receiver.ts'
import { freePort } from './redis.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')

/** A gateway in which everything counts that can be counted without certificates and a store. */
interface Scraped {
  readonly url: string
  readonly adminPort: number
}

async function scraped(t: Test): Promise<Scraped> {
  const service = await upstream(t, (_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'max-age=60' }).end('{}')
  )
  const { url: endpoint } = await receiver(t)
  const openapi = {
    openapi: '3.1.0',
    info: { title: 'shop', version: '1' },
    paths: {
      '/items': {
        get: {
          responses: {
            200: { description: '', content: { 'application/json': { schema: { type: 'array' } } } }
          }
        }
      }
    }
  }
  const config = {
    metrics: true,
    tracing: { endpoint },
    upstreams: { shop: { url: service, health: { path: '/' } } },
    rateLimit: { max: 100, window: '1m' },
    routes: [
      {
        // With what has to be escaped in a label.
        name: 'a "b" \\ c',
        path: '/items',
        methods: ['GET'],
        proxy: { upstream: 'shop', retry: { attempts: 2 } },
        cache: true,
        validate: { openapi: 'shop.json', base: '/', response: true }
      },
      { path: '/', respond: { body: 'fine' } }
    ]
  }
  const folder = t.testdir({ 'gateway.json': JSON.stringify(config), 'shop.json': JSON.stringify(openapi) })
  const adminPort = await freePort()
  const { url, line } = await running(t, ['-c', join(folder, 'gateway.json')], {
    env: { ADMIN_PORT: String(adminPort) }
  })
  for (const path of ['/', '/items', '/items', '/missing']) await ask(`${url}${path}`)
  await line(({ msg }) => msg === 'response does not match its openapi document')
  return { url, adminPort }
}

/** Returns what /metrics lists; histograms and summaries by the names of their series. */
async function counted(t: Test): Promise<Set<string>> {
  const { adminPort } = await scraped(t)
  const { text } = await ask(`http://127.0.0.1:${adminPort}/metrics`)
  const kinds = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)]
  return new Set(
    kinds.flatMap(([, name = '', kind]) =>
      kind === 'histogram'
        ? ['_bucket', '_sum', '_count'].map((end) => name + end)
        : kind === 'summary'
          ? [name, `${name}_sum`, `${name}_count`]
          : [name]
    )
  )
}

/** Which labels the documentation gives a metric. */
function labelsOf(name: string): string[] {
  const metric = name.replace(/_(bucket|sum|count)$/, '')
  const row = read('docs/admin.md')
    .split('\n')
    .find((line) => line.startsWith('|') && line.split('|')[1]?.includes(`\`${metric}\``))
  const own = [...(row?.split('|')[2] ?? '').matchAll(/`(\w+)`/g)].map(([, label = '']) => label)
  // What Prometheus itself puts on every series, and what a histogram has.
  return [...own, 'instance', 'job', ...(name.endsWith('_bucket') ? ['le'] : [])]
}

/** Reads the metrics of an expression, each with the labels that it is asked or summed by; throws where it is none. */
function metricsOf(expression: string): { names: string[]; labels: string[] } {
  const text = expression.replaceAll('$__rate_interval', '5m')
  const names: string[] = []
  const labels: string[] = []
  promql.parse(text).iterate({
    enter({ type, from, to }) {
      const said = text.slice(from, to)
      if (type.isError) throw new Error(`"${text}" is broken at ${from}`)
      if (type.name === 'Identifier') names.push(said)
      if (type.name === 'LabelName') labels.push(said)
    }
  })
  return { names, labels }
}

t.test('the dashboard and the alerts use metrics that the gateway exports', async (t) => {
  const dashboard = JSON.parse(read('deploy/grafana/sallyport.json')) as {
    panels: { id: number; title: string; description?: string; type: string; targets?: { expr: string }[] }[]
    templating: { list: { name: string; definition?: string }[] }
    annotations: { list: { expr: string }[] }
  }
  const [alerts] = parseDocuments<{ groups: { rules: { alert: string; expr: string }[] }[] }>(
    read('deploy/prometheus/alerts.yml')
  )
  const rules = alerts?.groups.flatMap((each) => each.rules) ?? []
  const asked = [
    ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr }))),
    ...dashboard.annotations.list.map(({ expr }) => ({ title: 'the annotations', expr })),
    ...rules.map(({ alert, expr }) => ({ title: alert, expr }))
  ]
  t.ok(asked.length > 30)
  const metrics = (await counted(t)).add('up')
  const used = new Set<string>()
  for (const { title, expr } of asked) {
    const { names, labels } = metricsOf(expr)
    t.not(names.length, 0, title)
    for (const name of names) {
      t.ok(metrics.has(name), `${title}: the gateway counts ${name}`)
      used.add(name.replace(/_(bucket|sum|count)$/, ''))
    }
    for (const label of labels)
      t.ok(
        names.some((name) => labelsOf(name).includes(label)),
        `${title}: ${names.join(', ')} has ${label}`
      )
  }
  t.strictSame(
    [...metrics].filter(
      (name) => name.startsWith('sallyport_') && !used.has(name.replace(/_(bucket|sum|count)$/, ''))
    ),
    [],
    'every metric of the gateway is on a panel or in an alert'
  )
  for (const { name, definition } of dashboard.templating.list) {
    if (definition === undefined) continue
    const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? []
    t.ok(
      metrics.has(metric) && labelsOf(metric).includes(label),
      `the variable ${name} is a label of ${metric}`
    )
  }
  for (const { type, title, description } of dashboard.panels)
    if (type !== 'row') t.ok(description, `${title} says what it shows`)
  t.equal(
    new Set(dashboard.panels.map(({ id }) => id)).size,
    dashboard.panels.length,
    'no two panels are one'
  )
  t.throws(() => metricsOf('sum(rate(x[5m])'), /broken/)
})

t.test('promtool accepts the files of Prometheus', { skip: missing('promtool') }, async (t) => {
  for (const [name, ...args] of [
    ['the alerts', 'check', 'rules', 'deploy/prometheus/alerts.yml'],
    ['their tests', 'test', 'rules', 'deploy/prometheus/alerts.test.yml'],
    // Only the syntax: the file with the token is in the container.
    ['the scrape config', 'check', 'config', '--syntax-only', 'deploy/prometheus/prometheus.yml']
  ] as const) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: top, encoding: 'utf8' })
    t.equal(status, 0, `${name}: ${stdout}${stderr}`)
  }
})

t.test('every alert has a test in which it fires, and one in which it does not', async (t) => {
  const alerts = [...read('deploy/prometheus/alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
  const [tests] = parseDocuments<{
    tests: { alert_rule_test: { alertname: string; exp_alerts?: object[] }[] }[]
  }>(read('deploy/prometheus/alerts.test.yml'))
  const cases = tests?.tests.flatMap((each) => each.alert_rule_test) ?? []
  for (const alert of alerts) {
    const own = cases.filter(({ alertname }) => alertname === alert)
    t.ok(
      own.some(({ exp_alerts = [] }) => exp_alerts.length > 0),
      `${alert} fires`
    )
    t.ok(
      own.some(({ exp_alerts = [] }) => exp_alerts.length === 0),
      `${alert} does not fire`
    )
  }
})

t.test('promtool check metrics finds nothing in /metrics', { skip: missing('promtool') }, async (t) => {
  const { adminPort } = await scraped(t)
  const { headers, text } = await ask(`http://127.0.0.1:${adminPort}/metrics`)
  t.match(headers.get('content-type'), 'text/plain')
  t.match(text, 'sallyport_invalid_responses_total{route="a \\"b\\" \\\\ c"}')
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8'
  })
  // Names of Node.js and of the process come from prom-client. The event loop's quantiles are gauges, since each scrape
  // begins anew.
  const own = `${stdout}${stderr}`
    .split('\n')
    .filter(
      (line) => line.startsWith('sallyport_') && !line.startsWith('sallyport_event_loop_delay_seconds ')
    )
  t.strictSame(own, [])
  t.ok(status === 0 || status === 3, 'the format is valid; 3 is for names')
})

t.test('Prometheus reads both formats, and exemplars', { skip: missing('prometheus') }, async (t) => {
  const { adminPort } = await scraped(t)
  const openMetrics = await ask(`http://127.0.0.1:${adminPort}/metrics`, {
    headers: { accept: 'application/openmetrics-text;version=1.0.0' }
  })
  t.match(openMetrics.text, /# \{trace_id="[0-9a-f]{32}"\}/)
  const port = await freePort()
  const folder = t.testdir({
    'prometheus.yml': JSON.stringify({
      global: { scrape_interval: '2s' },
      scrape_configs: [{ job_name: 'sallyport', static_configs: [{ targets: [`127.0.0.1:${adminPort}`] }] }]
    })
  })
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--enable-feature=exemplar-storage'
    ],
    { stdio: 'ignore' }
  )
  t.teardown(() => child.kill('SIGKILL'))
  const api = async <T>(path: string): Promise<T | undefined> => {
    const answer = await ask(`http://127.0.0.1:${port}/api/v1/${path}`).catch(() => undefined)
    return answer?.status === 200 ? (JSON.parse(answer.text) as { data: T }).data : undefined
  }
  const scrape = async (): Promise<{ lastError: string; health: string } | undefined> => {
    const targets = await api<{ activeTargets: { lastError: string; health: string }[] }>('targets')
    return targets?.activeTargets.find(({ health }) => health !== 'unknown')
  }
  // On a busy machine it starts slowly, and a scrape may take longer than the interval.
  let target = await scrape()
  while (target === undefined || target.lastError.includes('deadline exceeded')) {
    await delay(100)
    target = await scrape()
  }
  t.match(target, { health: 'up', lastError: '' })
  const query = encodeURIComponent('sallyport_request_duration_seconds_bucket')
  const exemplars = await api<{ exemplars: { labels: { trace_id: string } }[] }[]>(
    `query_exemplars?query=${query}&start=${Date.now() / 1000 - 600}&end=${Date.now() / 1000 + 600}`
  )
  t.match(exemplars?.[0]?.exemplars[0]?.labels.trace_id, /^[0-9a-f]{32}$/)
})
