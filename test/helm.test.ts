import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import type { Deployment } from 'kubernetes-models/apps/v1'
import t from 'tap'
import { parse } from 'yaml'
import { missing, SECRET, sallyport } from './helpers.ts'
import { faultsOf, parseDocuments, type Resource } from './kubernetes.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const chart = join(top, 'deploy/helm/sallyport')
const base = join(top, 'deploy/kubernetes')
const read = (file: string): string => readFileSync(join(chart, file), 'utf8')
const values = parse(read('values.yaml')) as Record<string, unknown> & { config: object }

/** Runs a program to its end. */
const output = (
  program: string,
  ...args: string[]
): { code: number | null; stdout: string; stderr: string } => {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

/** Renders the chart as a release of the name "sallyport". */
function rendered(...args: string[]): Map<string, Resource> {
  const { code, stdout, stderr } = output('helm', 'template', 'sallyport', chart, ...args)
  if (code !== 0) throw new Error(stderr)
  return byName(stdout)
}

const byName = (text: string): Map<string, Resource> =>
  new Map(parseDocuments<Resource>(text).map((each) => [`${each.kind} ${each.metadata.name}`, each]))

t.test('the values have a schema, which accepts the defaults and no unknown name', async (t) => {
  const validate = new Ajv({ allErrors: true }).compile(JSON.parse(read('values.schema.json')) as object)
  t.ok(validate(values), JSON.stringify(validate.errors))
  for (const wrong of [
    { replica: 2 },
    { redis: { on: true } },
    { env: { PORT: 1 } },
    { reload: 'always' },
    { config: { routes: [] } }
  ])
    t.notOk(validate({ ...values, ...wrong }), JSON.stringify(wrong))
  const { properties } = JSON.parse(read('values.schema.json')) as { properties: object }
  t.strictSame(
    Object.keys(properties)
      .filter((key) => key !== 'global')
      .toSorted(),
    Object.keys(values).toSorted(),
    'every value of the schema has its default in values.yaml'
  )
})

t.test('the chart has the version of the gateway', async (t) => {
  const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as { version: string }
  t.match(parse(read('Chart.yaml')), { version, appVersion: version })
})

t.test('the default config passes check --strict', async (t) => {
  const folder = t.testdir({ 'gateway.json': JSON.stringify(values.config) })
  const { code, stdout, stderr } = await sallyport(
    ['check', '--strict', '-c', join(folder, 'gateway.json')],
    {
      env: { REDIS_URL: 'redis://:word@sallyport-redis:6379', SESSION_SECRET: SECRET }
    }
  )
  t.equal(code, 0, `${stdout}${stderr}`)
})

t.test('README.md explains every value', async (t) => {
  for (const key of Object.keys(values)) t.match(read('README.md'), new RegExp(`\`${key}(\`|\\.)`), key)
})

t.test('helm lint --strict finds nothing', { skip: missing('helm') }, async (t) => {
  const { code, stdout, stderr } = output('helm', 'lint', '--strict', chart)
  t.equal(code, 0, `${stdout}${stderr}`)
})

/** Removes what only one of both writes: labels of Helm, and defaults of Kubernetes that the chart spells out. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  const defaults: Record<string, unknown> = { imagePullPolicy: 'IfNotPresent', scheme: 'HTTP' }
  return Object.fromEntries(
    Object.entries(value)
      .filter(
        ([key]) => !/^(helm\.sh\/chart|app\.kubernetes\.io\/(instance|version|managed-by|part-of))$/.test(key)
      )
      .filter(([key, each]) => !(key in defaults && defaults[key] === each))
      .map(([key, each]) => [key, comparable(each)])
  )
}

t.test(
  'with the same gateway.json it is the Kustomize base',
  { skip: missing('helm', 'kubectl') },
  async (t) => {
    const ours = rendered('--set-file', `configFile=${join(base, 'gateway.json')}`)
    const { code, stdout, stderr } = output('kubectl', 'kustomize', base)
    t.equal(code, 0, stderr)
    const theirs = byName(stdout)
    t.strictSame([...ours.keys()].toSorted(), [...theirs.keys()].toSorted())
    for (const [name, { metadata, ...rest }] of ours) {
      const { metadata: other, ...expected } = theirs.get(name) ?? { metadata: { name: '' } }
      t.equal(metadata.name, other.name)
      t.strictSame(comparable(rest), comparable(expected), name)
    }
  }
)

t.test('what it renders', { skip: missing('helm') }, async (t) => {
  const deployment = (...args: string[]): Deployment =>
    rendered(...args).get('Deployment sallyport') as unknown as Deployment
  const env = (...args: string[]) => deployment(...args).spec?.template.spec?.containers[0]?.env ?? []

  t.test('matches the schemas of Kubernetes, whatever the values', async (t) => {
    const full = JSON.stringify({
      fullnameOverride: 'edge',
      image: { tag: '1', pullSecrets: [{ name: 'registry' }] },
      files: { 'users.json': '[]', 'team.json': '{ "routes": [] }\n' },
      reload: 'rollout',
      env: { ORDERS_URL: 'http://orders:8080' },
      envFrom: [{ secretRef: { name: 'upstreams' } }],
      redis: { enabled: false, urlKey: 'redis-url' },
      autoscaler: { enabled: false },
      service: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', annotations: { a: 'b' } },
      probeScheme: 'HTTPS',
      podAnnotations: { a: 'b' },
      podLabels: { a: 'b' },
      priorityClassName: 'high',
      nodeSelector: { a: 'b' },
      tolerations: [{ key: 'edge', operator: 'Exists' }],
      affinity: { podAntiAffinity: {} },
      extraVolumes: [{ name: 'tls', secret: { secretName: 'tls' } }],
      extraVolumeMounts: [{ name: 'tls', mountPath: '/tls', readOnly: true }]
    })
    for (const args of [[], ['-f', join(t.testdir({ 'values.json': full }), 'values.json')]]) {
      const resources = rendered(...args)
      t.ok(resources.size >= 5)
      for (const [name, resource] of resources) t.strictSame(await faultsOf(resource), [], name)
    }
  })

  t.test('by default changes of the config are watched; with rollout they replace the pods', async (t) => {
    const parts = (...args: string[]) => {
      const { metadata, spec } = deployment(...args).spec?.template ?? {}
      return { args: spec?.containers[0]?.args, checksum: metadata?.annotations?.['checksum/config'] }
    }
    t.strictSame(parts(), { args: ['run', '--watch'], checksum: undefined })
    const one = parts('--set', 'reload=rollout')
    t.strictSame(one.args, ['run'])
    t.match(one.checksum, /^[0-9a-f]{64}$/)
    t.strictSame(parts('--set', 'reload=rollout'), one)
    t.not(parts('--set', 'reload=rollout,config.metrics=false').checksum, one.checksum)
  })

  t.test('a text is taken to the letter', async (t) => {
    const text = '  // {{ .Values }} "quoted"\n{ "routes": [] }\n'
    const file = join(t.testdir({ 'gateway.json': text }), 'gateway.json')
    const map = rendered('--set-file', `configFile=${file}`).get('ConfigMap sallyport')
    t.strictSame((map as unknown as { data: object }).data, { 'gateway.json': text })
  })

  t.test('without its Redis it has the URL of another one, or none', async (t) => {
    const names = (...args: string[]): string[] =>
      env('--set', 'redis.enabled=false', ...args).map(({ name }) => name)
    t.notMatch(names().join(), 'REDIS')
    t.match(names('--set', 'redis.urlKey=redis-url').join(), /,REDIS_URL$/)
    t.notMatch([...rendered('--set', 'redis.enabled=false').keys()].join(), 'redis')
  })

  t.test('the time to stop is longer than the drain', async (t) => {
    const spec = deployment('--set', 'drain.preStop=10,drain.delay=20,drain.timeout=300').spec?.template.spec
    t.equal(spec?.terminationGracePeriodSeconds, 350)
    t.match(spec?.containers[0]?.lifecycle, { preStop: { sleep: { seconds: 10 } } })
  })

  t.test('the notes name the secret and each of its keys that the pods ask for', async (t) => {
    for (const args of [
      [],
      ['--set', 'redis.enabled=false,redis.urlKey=redis-url'],
      ['--set', 'secret.name=mine']
    ]) {
      const { stdout } = output('helm', 'install', 'sallyport', chart, '--dry-run=client', ...args)
      const notes = stdout.slice(stdout.indexOf('NOTES:'))
      for (const { valueFrom } of env(...args)) {
        if (valueFrom?.secretKeyRef === undefined) continue
        t.match(notes, `create secret generic ${valueFrom.secretKeyRef.name} `)
        t.match(notes, `--from-literal=${valueFrom.secretKeyRef.key}=`)
      }
    }
  })

  t.test('refuses a value that the schema does not know', async (t) => {
    const { code, stderr } = output('helm', 'template', chart, '--set', 'replica=2')
    t.equal(code, 1)
    t.match(stderr, "'replica' not allowed")
  })
})
