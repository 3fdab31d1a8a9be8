import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DockerfileParser, type JSONInstruction } from 'dockerfile-ast'
import { validate as lint } from 'dockerfile-utils'
import type { Deployment } from 'kubernetes-models/apps/v1'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { catalog } from '../src/catalog.ts'
import { loadConfig } from '../src/index.ts'
import { duration } from '../src/kit/index.ts'
import { variables } from '../src/settings.ts'
import { certificate, listening, noOpenssl, SECRET, sallyport } from './helpers.ts'
import { freePort } from './redis.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')

/** The variables that a process reads. */
const NAMES: ReadonlySet<string> = new Set([
  ...variables.map(({ name }) => name),
  'ADMIN_HOST',
  'ADMIN_PORT',
  'ADMIN_TOKEN',
  'WORKERS'
])

t.test('the image', async (t) => {
  const dockerfile = DockerfileParser.parse(read('Dockerfile'))
  const instructions = dockerfile.getInstructions()
  const last = instructions.findLastIndex((each) => each.getKeyword() === 'FROM')
  const final = instructions.slice(last)
  const said = (keyword: string): string =>
    final.find((each) => each.getKeyword() === keyword)?.getArgumentsContent() ?? ''

  t.strictSame(lint(read('Dockerfile')), [], 'a linter finds nothing')
  t.match(said('USER'), /^[1-9]\d*:[1-9]\d*$/, 'it runs as a number that is not root')
  for (const keyword of ['ENTRYPOINT', 'CMD']) {
    const one = final.find((each) => each.getKeyword() === keyword) as JSONInstruction | undefined
    t.ok(one?.getOpeningBracket(), `${keyword} runs without a shell, so that signals reach Node.js`)
  }
  t.match(said('ENTRYPOINT'), /^\["node", /)
  t.match(said('HEALTHCHECK'), /CMD \["node", /)
  t.match(said('ENV'), 'HOST=0.0.0.0')
  for (const [, name = ''] of said('ENV').matchAll(/(\w+)=/g))
    t.ok(name === 'NODE_ENV' || NAMES.has(name), `${name} is a variable of src/settings.ts`)
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
  t.match(
    dockerfile.getFROMs()[0]?.getImage(),
    `node:${/\d+/.exec(engines.node)?.[0]}`,
    'it has the Node.js that package.json wants'
  )

  t.test('takes what it copies from the repository, past .dockerignore', async (t) => {
    const [all, ...letIn] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    t.equal(all, '*')
    const copied = dockerfile.getCOPYs().filter((each) => !each.getFromFlag())
    t.ok(copied.length > 5)
    for (const source of copied.flatMap((each) => each.getArguments().slice(0, -1))) {
      t.ok(existsSync(join(top, source.getValue())), `${source.getValue()} is there`)
      t.ok(letIn.includes(`!${source.getValue()}`), `.dockerignore lets in ${source.getValue()}`)
    }
  })

  t.test('asks itself whether it lives', async (t) => {
    const health = async (port: number): Promise<number> => {
      const child = spawn(process.execPath, [join(top, 'deploy/healthcheck.js')], {
        env: { ...process.env, PORT: String(port) },
        stdio: 'ignore'
      })
      const [code] = (await once(child, 'exit')) as [number]
      return code
    }
    const routes = [{ path: '/', respond: { body: 'fine' } }]
    const plain = await listening(t, { routes })
    t.equal(await health(plain.port), 0)
    t.equal(await health(await freePort()), 1, 'nobody is there')
    t.test('over TLS', { skip: noOpenssl }, async (t) => {
      const { ca } = certificate(t)
      const tls = { certificates: [{ cert: ca, key: ca.replace('up.pem', 'up.key') }] }
      t.equal(await health((await listening(t, { tls, routes })).port), 0)
      const strict = { ...tls, clientCertificates: { ca, required: true } }
      t.equal(await health((await listening(t, { tls: strict, routes })).port), 0, 'which refuses strangers')
    })
  })
})

/** A document of Kubernetes, as far as all of them are alike. */
interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
}

/** Reads a file of YAML documents. */
function documents<T>(file: string): T[] {
  return parseAllDocuments(read(file), { merge: true }).map((each) => {
    if (each.errors.length > 0) throw each.errors[0]
    return each.toJS() as T
  })
}

/** What a validator never looked at is what the schema does not know: a typo, which Kubernetes would drop in silence. */
function watched(value: object, path: string, unseen: Set<string>): object {
  const seen = new Map<string, unknown>()
  for (const key of Object.keys(value)) unseen.add(`${path}.${key}`)
  return new Proxy(value, {
    get(target, key) {
      const inner = Reflect.get(target, key) as unknown
      if (typeof key !== 'string') return inner
      unseen.delete(`${path}.${key}`)
      if (typeof inner !== 'object' || inner === null) return inner
      if (!seen.has(key)) seen.set(key, watched(inner, `${path}.${key}`, unseen))
      return seen.get(key)
    }
  })
}

type Validator = ((data: unknown) => boolean) & { errors?: { instancePath: string; params: object }[] | null }

/** Tells what the schema of Kubernetes has against a document. */
async function faultsOf(resource: Resource): Promise<string[]> {
  const [group = '', version = ''] = `core/${resource.apiVersion}`.split('/').slice(-2)
  const title = (word: string): string => `${word.charAt(0).toUpperCase()}${word.slice(1)}`
  const name = `IoK8sApi${title(group.split('.')[0] ?? '')}${title(version)}${resource.kind}`
  const { validate } = (await import(`kubernetes-models/_schemas/${name}`)) as { validate: Validator }
  const unseen = new Set<string>()
  const sound = validate(watched(resource, resource.kind, unseen))
  const faults = sound ? [] : (validate.errors ?? [])
  return [
    ...faults.map(({ instancePath, params }) => `${resource.kind}${instancePath}: ${JSON.stringify(params)}`),
    ...[...unseen].map((path) => `${path} is nothing that Kubernetes knows`)
  ]
}

t.test('Kubernetes', async (t) => {
  const folder = 'deploy/kubernetes'
  const [kustomization] = documents<{
    resources: string[]
    images: { name: string; newTag: string }[]
    configMapGenerator: { name: string; files: string[] }[]
  }>(`${folder}/kustomization.yaml`)
  const files = kustomization?.resources ?? []
  const resources = [...files, 'secret.example.yaml'].flatMap((file) =>
    documents<Resource>(`${folder}/${file}`)
  )
  const find = <T>(kind: string, name = 'sallyport'): T => {
    const found = resources.find((each) => each.kind === kind && each.metadata.name === name)
    if (found === undefined) throw new Error(`there is no ${kind} ${name}`)
    return found as unknown as T
  }
  const deployment = find<Deployment>('Deployment')
  const pod = deployment.spec?.template.spec
  const container = pod?.containers[0]
  const ports = new Map(container?.ports?.map(({ name, containerPort }) => [name, containerPort]))
  const env = new Map(container?.env?.map((each) => [each.name, each]))
  const settled = (name: string): string =>
    env.get(name)?.value ?? variables.find((each) => each.name === name)?.fallback ?? ''

  t.test('every document is one of Kubernetes, and no file is left out', async (t) => {
    t.ok(resources.length >= 10)
    for (const resource of resources)
      t.strictSame(await faultsOf(resource), [], `${resource.kind} ${resource.metadata.name}`)
    const there = readdirSync(join(top, folder)).filter((file) => file.endsWith('.yaml'))
    t.strictSame(there.toSorted(), [...files, 'kustomization.yaml', 'secret.example.yaml'].toSorted())
  })

  t.test('a typo would be found', async (t) => {
    const wrong = structuredClone(find<Resource>('Service')) as unknown as {
      spec: { selectr?: string; type?: unknown }
    }
    wrong.spec.selectr = 'x'
    t.strictSame(await faultsOf(wrong as unknown as Resource), [
      'Service.spec.selectr is nothing that Kubernetes knows'
    ])
    wrong.spec.type = 7
    t.match(await faultsOf(wrong as unknown as Resource), [/type/])
  })

  t.test('the config passes check --strict', async (t) => {
    t.strictSame(kustomization?.configMapGenerator, [{ name: 'sallyport', files: ['gateway.json'] }])
    const file = join(top, folder, 'gateway.json')
    const { code, stdout, stderr } = await sallyport(['check', '--strict', '-c', file], {
      env: { REDIS_URL: 'redis://:word@sallyport-redis:6379', SESSION_SECRET: SECRET }
    })
    t.equal(code, 0, `${stdout}${stderr}`)
    if (catalog.concerns.some(({ key }) => (key as string) === 'metrics'))
      t.match(
        await loadConfig(file, {}),
        { words: { metrics: {} } },
        'it asks for metrics, once there are any'
      )
  })

  t.test('the container and the process agree', async (t) => {
    const known = new Set([...NAMES, 'REDIS_PASSWORD'])
    for (const name of env.keys()) t.ok(known.has(name), `${name} is a variable of src/settings.ts`)
    t.match(settled('REDIS_URL'), '$(REDIS_PASSWORD)', 'the password is for the URL alone')
    t.equal(ports.get('http'), Number(settled('PORT')))
    t.equal(ports.get('admin'), Number(settled('ADMIN_PORT')))
    t.ok(env.has('ADMIN_TOKEN') || settled('ADMIN_HOST') === '127.0.0.1', 'the admin port wants a token')
    const mount = container?.volumeMounts?.find(({ name }) => name === 'config')
    t.equal(`${mount?.mountPath}/gateway.json`, settled('GATEWAY_CONFIG'))
    t.notOk(mount?.subPath, 'a file that is mounted alone never changes')
    t.strictSame(container?.args, ['run', '--watch'])
    const probes = [container?.livenessProbe, container?.readinessProbe, container?.startupProbe]
    t.strictSame(
      probes.map((probe) => probe?.httpGet?.path),
      ['/-/live', '/-/ready', '/-/ready']
    )
    for (const probe of probes) t.equal(probe?.httpGet?.port, 'http')
    const sleep = container?.lifecycle?.preStop?.sleep?.seconds ?? 0
    const drain = (duration(settled('DRAIN_DELAY')) + duration(settled('DRAIN_TIMEOUT'))) / 1000
    t.ok(
      (pod?.terminationGracePeriodSeconds ?? 30) > sleep + drain,
      `it is killed after preStop and the drain, ${sleep + drain} s`
    )
    const { version } = JSON.parse(read('package.json')) as { version: string }
    t.match(kustomization?.images, [{ name: container?.image, newTag: version }])
  })

  t.test('every pod runs as nobody, reads only, and can do nothing', async (t) => {
    for (const { kind, spec } of resources as unknown as Pick<Deployment, 'kind' | 'spec'>[]) {
      if (spec?.template === undefined) continue
      const of = spec.template.spec
      t.match(of?.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } }, kind)
      t.equal(of?.automountServiceAccountToken, false)
      for (const each of of?.containers ?? [])
        t.match(each.securityContext, {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] }
        })
    }
  })

  t.test('whatever names another thing names one that is there', async (t) => {
    const labels = new Map(
      (resources as unknown as Pick<Deployment, 'metadata' | 'spec'>[])
        .filter(({ spec }) => spec?.template !== undefined)
        .map(({ metadata, spec }) => [metadata?.name, spec?.template.metadata?.labels])
    )
    for (const [name, own] of labels) {
      t.match(own, find<{ spec: { selector: object } }>('Service', name).spec.selector, `the service ${name}`)
      t.match(
        own,
        find<{ spec: { podSelector: { matchLabels: object } } }>('NetworkPolicy', name).spec.podSelector
          .matchLabels,
        `the policy ${name}`
      )
    }
    const budget = find<{ spec: { selector: { matchLabels: object } } }>('PodDisruptionBudget')
    t.match(labels.get('sallyport'), budget.spec.selector.matchLabels)
    const autoscaler = find<{ spec: { scaleTargetRef: object; minReplicas: number } }>(
      'HorizontalPodAutoscaler'
    )
    t.match(deployment, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'sallyport' }
    })
    t.strictSame(autoscaler.spec.scaleTargetRef, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: 'sallyport'
    })
    t.ok(autoscaler.spec.minReplicas >= 2, 'one may go while another serves')
    const secret = find<{ stringData: object }>('Secret')
    const asked = JSON.stringify(resources).matchAll(/"secretKeyRef":\{"name":"(\w+)","key":"([\w-]+)"/g)
    for (const [, name, key = ''] of asked) {
      t.equal(name, 'sallyport')
      t.ok(key in secret.stringData, `secret.example.yaml has ${key}`)
    }
    const [monitor] = documents<{
      spec: {
        podMetricsEndpoints: { port: string; authorization: { credentials: { name: string; key: string } } }[]
      }
    }>(`${folder}/prometheus-operator/pod-monitor.yaml`)
    const endpoint = monitor?.spec.podMetricsEndpoints[0]
    t.ok(ports.has(endpoint?.port), 'metrics are asked of a port that is there')
    t.ok((endpoint?.authorization.credentials.key ?? '') in secret.stringData)
  })
})
