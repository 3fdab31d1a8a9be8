import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DCLinter } from 'dclint'
import { DockerfileParser, type JSONInstruction } from 'dockerfile-ast'
import { validate as lint } from 'dockerfile-utils'
import type { Deployment } from 'kubernetes-models/apps/v1'
import t from 'tap'
import { duration } from '../src/lib/units.ts'
import { NODE_FLAGS, workerFlags } from '../src/process/node-flags.ts'
import { variables } from '../src/process/settings.ts'
import { ask, certificate, listening, noOpenssl, running, SECRET, sallyport } from './helpers.ts'
import { faultsOf, parseDocuments, type Resource } from './kubernetes.ts'
import { freePort } from './redis.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')
const documents = <T>(file: string): T[] => parseDocuments<T>(read(file))

/** The variables that a process reads. */
const NAMES: ReadonlySet<string> = new Set(variables.map(({ name }) => name))

t.test('starts Node.js with the same flags everywhere', async (t) => {
  const folder = t.testdir({})
  await sallyport(['init', folder])
  const cases: [where: string, text: string][] = [
    ['bin/sallyport.js', /^#!.*$/m.exec(read('bin/sallyport.js'))?.[0] ?? ''],
    ['Dockerfile', /^ENTRYPOINT .*$/m.exec(read('Dockerfile'))?.[0] ?? ''],
    [
      'deploy/systemd/sallyport.service',
      /^ExecStart=.*$/m.exec(read('deploy/systemd/sallyport.service'))?.[0] ?? ''
    ],
    ['docs/embedding.md', /^node --.*$/m.exec(read('docs/embedding.md'))?.[0] ?? ''],
    [
      'the Dockerfile of sallyport init',
      /^CMD .*$/m.exec(readFileSync(join(folder, 'Dockerfile'), 'utf8'))?.[0] ?? ''
    ]
  ]
  for (const [where, text] of cases) t.strictSame(text.match(/--[a-z0-9-]+(=\w+)?/g), NODE_FLAGS, where)
  const young = ['--max-semi-space-size=4', '--no-allocation-site-pretenuring']
  const workers: [name: string, own: string[], expected: string[]][] = [
    ['a worker has one core', [...NODE_FLAGS], [...young, '--v8-pool-size=1']],
    ['the defaults are the same', [], [...young, '--v8-pool-size=1']],
    [
      'flags that are set apply to workers as well',
      ['--v8-pool-size=2', '--max-old-space-size=200', ...young],
      ['--v8-pool-size=2', '--max-old-space-size=200', ...young]
    ]
  ]
  for (const [name, own, expected] of workers) t.strictSame(workerFlags(own), expected, name)
})

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
    t.ok(name === 'NODE_ENV' || NAMES.has(name), `${name} is a variable of src/process/settings.ts`)
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
  t.match(
    dockerfile.getFROMs()[0]?.getImage(),
    `node:${/\d+/.exec(engines.node)?.[0]}`,
    'it has the Node.js that package.json wants'
  )

  t.test('copies files that exist and are not in .dockerignore', async (t) => {
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

  t.test('the Dockerfile of sallyport init passes the same checks', async (t) => {
    const folder = t.testdir({})
    t.equal((await sallyport(['init', folder])).code, 0)
    const written = readFileSync(join(folder, 'Dockerfile'), 'utf8')
    t.strictSame(lint(written), [], 'a linter finds nothing')
    t.match(written, /^USER node$/m)
    t.match(written, /^CMD \["node", /m)
  })

  t.test('checks its own health', async (t) => {
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
    t.equal(await health(await freePort()), 1, 'no process listens')
    t.test('over TLS', { skip: noOpenssl }, async (t) => {
      const { ca } = certificate(t)
      const tls = { certificates: [{ cert: ca, key: ca.replace('up.pem', 'up.key') }] }
      t.equal(await health((await listening(t, { tls, routes })).port), 0)
      const strict = { ...tls, clientCertificates: { ca, required: true } }
      t.equal(await health((await listening(t, { tls: strict, routes })).port), 0, 'which refuses strangers')
    })
  })
})

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

  t.test('every document matches its Kubernetes schema, and every file is referenced', async (t) => {
    t.ok(resources.length >= 10)
    for (const resource of resources)
      t.strictSame(await faultsOf(resource), [], `${resource.kind} ${resource.metadata.name}`)
    const there = readdirSync(join(top, folder)).filter((file) => file.endsWith('.yaml'))
    t.strictSame(there.toSorted(), [...files, 'kustomization.yaml', 'secret.example.yaml'].toSorted())
  })

  t.test('the schema check finds a typo', async (t) => {
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
    t.match(readFileSync(file, 'utf8'), '"metrics": true', 'it counts for Prometheus')
  })

  t.test('the container and the process use the same variables, ports and times', async (t) => {
    const known = new Set([...NAMES, 'REDIS_PASSWORD'])
    for (const name of env.keys()) t.ok(known.has(name), `${name} is a variable of src/process/settings.ts`)
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

  t.test('a changed ConfigMap reloads the running pod', async (t) => {
    // As the kubelet does it: files are links into ..data, which is a link that is replaced in one step.
    const mount = t.testdir({})
    let version = 0
    const update = (body: string): void => {
      const [old, next] = [`..${version++}`, `..${version}`]
      mkdirSync(join(mount, next))
      writeFileSync(
        join(mount, next, 'gateway.json'),
        JSON.stringify({ routes: [{ path: '/', respond: { body } }] })
      )
      symlinkSync(next, join(mount, '..data_tmp'))
      renameSync(join(mount, '..data_tmp'), join(mount, '..data'))
      rmSync(join(mount, old), { recursive: true, force: true })
    }
    update('one')
    symlinkSync('..data/gateway.json', join(mount, 'gateway.json'))
    const { url, line, lines } = await running(t, ['--watch'], {
      env: { GATEWAY_CONFIG: join(mount, 'gateway.json') }
    })
    t.equal((await ask(url)).text, 'one')
    for (const [i, body] of ['two', 'three'].entries()) {
      update(body)
      await line(() => lines.filter(({ msg }) => msg === 'reloaded').length > i)
      t.equal((await ask(url)).text, body)
    }
  })

  t.test('every pod runs without root, capabilities and a writable file system', async (t) => {
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

  t.test('every reference resolves', async (t) => {
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

t.test('compose', async (t) => {
  interface Service {
    readonly image?: string
    readonly environment?: Record<string, string>
    readonly command?: string[]
    readonly volumes?: string[]
    readonly depends_on?: object
    readonly networks: string[]
    readonly secrets?: string[]
    readonly stop_grace_period?: string
  }
  const file = 'deploy/compose.yaml'
  const [compose] = documents<{
    services: Record<string, Service>
    networks: object
    volumes: object
    secrets: Record<string, { environment: string }>
  }>(file)
  const services = compose?.services ?? {}

  t.test('passes the compose schema and the linter', async (t) => {
    // How the file is sorted is ours to say; that each port is quoted it overlooks where an address stands before it.
    const rules = {
      'service-keys-order': 0,
      'services-alphabetical-order': 0,
      'require-quotes-in-ports': 0
    } as const
    const linter = new DCLinter({ rules, quiet: true, debug: false, exclude: [] })
    t.strictSame(
      (linter.lintFiles([join(top, file)], false) as { messages: object[] }[]).flatMap(
        ({ messages }) => messages
      ),
      []
    )
  })

  t.test('every reference resolves', async (t) => {
    for (const [name, service] of Object.entries(services)) {
      for (const other of Object.keys(service.depends_on ?? {}).filter((each) => !/^\d+$/.test(each)))
        t.ok(other in services, `${name} waits for ${other}`)
      for (const network of service.networks)
        t.ok(network in (compose?.networks ?? {}), `${name}: ${network}`)
      for (const [from = ''] of (service.volumes ?? []).map((each) => each.split(':')))
        t.ok(
          from.startsWith('.') ? existsSync(join(top, 'deploy', from)) : from in (compose?.volumes ?? {}),
          `${name} mounts ${from}`
        )
      for (const secret of service.secrets ?? [])
        t.ok(secret in (compose?.secrets ?? {}), `${name}: ${secret}`)
    }
    for (const name of Object.keys(services['gateway']?.environment ?? {}))
      t.ok(NAMES.has(name), `${name} is a variable of src/process/settings.ts`)
    const { DRAIN_DELAY = '0s', DRAIN_TIMEOUT = '30s' } = services['gateway']?.environment ?? {}
    t.ok(
      duration(services['gateway']?.stop_grace_period ?? '10s') >
        duration(DRAIN_DELAY) + duration(DRAIN_TIMEOUT),
      'the gateway is killed after its drain'
    )
  })

  t.test('only the gateway can reach the services behind it', async (t) => {
    const inside = Object.entries(services).filter(([, { networks }]) => networks.includes('inside'))
    t.strictSame(inside.map(([name]) => name).toSorted(), ['gateway', 'redis', 'shop'])
    t.match(compose?.networks, { inside: { internal: true } })
  })

  t.test('every image has a version', async (t) => {
    for (const [name, { image }] of Object.entries(services))
      if (name !== 'gateway') t.match(image, /:v?\d+(\.\d+\.\d+)?(-[\w-]+)?$/, name)
  })

  t.test('traces go through the collector to Jaeger, which Grafana reads', async (t) => {
    interface Collector {
      receivers: { otlp: { protocols: { http: { endpoint: string } } } }
      processors: object
      exporters: { otlp: { endpoint: string } }
      service: { pipelines: { traces: Record<'receivers' | 'processors' | 'exporters', string[]> } }
    }
    const [collector] = documents<Collector>('deploy/otel/collector.yaml')
    const config = read('deploy/compose/gateway/gateway.json')
    const { hostname, port } = new URL(/"endpoint": "([^"]+)"/.exec(config)?.[1] ?? '')
    t.ok(hostname in services)
    t.equal(collector?.receivers.otlp.protocols.http.endpoint, `0.0.0.0:${port}`)
    t.ok((collector?.exporters.otlp.endpoint.split(':')[0] ?? '') in services)
    const { traces } = collector?.service.pipelines ?? {}
    for (const part of ['receivers', 'processors', 'exporters'] as const)
      for (const name of traces?.[part] ?? []) t.ok(name in (collector?.[part] ?? {}), `${part}: ${name}`)
    t.ok(services['otel-collector']?.command?.join().endsWith('/etc/otel/collector.yaml'))

    const [grafana] = documents<{
      datasources: { uid: string; url: string; jsonData?: { exemplarTraceIdDestinations?: object[] } }[]
    }>('deploy/grafana/provisioning/datasources/sources.yaml')
    const sources = new Map(grafana?.datasources.map((each) => [each.uid, each]))
    for (const { url } of sources.values()) t.ok(new URL(url).hostname in services, url)
    t.ok(sources.has('jaeger'))
    t.strictSame(sources.get('prometheus')?.jsonData?.exemplarTraceIdDestinations, [
      { name: 'trace_id', datasourceUid: 'jaeger' }
    ])
    t.ok(services['prometheus']?.command?.includes('--enable-feature=exemplar-storage'))
  })

  t.test('Prometheus scrapes the admin port of the gateway, with its token', async (t) => {
    const [prometheus] = documents<{
      rule_files: string[]
      scrape_configs: {
        authorization: { credentials_file: string }
        dns_sd_configs: { names: string[]; port: number }[]
      }[]
    }>('deploy/prometheus/prometheus.yml')
    const [scrape] = prometheus?.scrape_configs ?? []
    const [found] = scrape?.dns_sd_configs ?? []
    t.ok(found?.names.every((name) => name in services))
    t.equal(String(found?.port), services['gateway']?.environment?.['ADMIN_PORT'])
    const secret = scrape?.authorization.credentials_file.replace('/run/secrets/', '') ?? ''
    t.ok(services['prometheus']?.secrets?.includes(secret))
    t.equal(compose?.secrets[secret]?.environment, 'ADMIN_TOKEN')
    for (const rules of prometheus?.rule_files ?? []) t.ok(existsSync(join(top, 'deploy/prometheus', rules)))
  })

  t.test('its gateway passes check --strict', async (t) => {
    const gateway = join(top, 'deploy/compose/gateway/gateway.json')
    const { code, stdout, stderr } = await sallyport(['check', '--strict', '-c', gateway])
    t.equal(code, 0, `${stdout}${stderr}`)
    t.match(readFileSync(gateway, 'utf8'), '"metrics": true', 'it counts for Prometheus')
  })
})

t.test('systemd', async (t) => {
  const unit = (name: string): Map<string, string[]> => {
    const said = new Map<string, string[]>()
    for (const [, key = '', value = ''] of read(`deploy/systemd/${name}`).matchAll(/^(\w+)=(.*)$/gm))
      said.set(key, [...(said.get(key) ?? []), value])
    return said
  }
  const service = unit('sallyport.service')
  const one = (key: string): string => service.get(key)?.join(' ') ?? ''
  const env = new Map(
    one('Environment')
      .split(' ')
      .map((each) => each.split('=') as [string, string])
  )
  for (const name of env.keys())
    t.ok(name === 'NODE_ENV' || NAMES.has(name), `${name} is a variable of src/process/settings.ts`)
  const drain = ['DRAIN_DELAY', 'DRAIN_TIMEOUT'].map((name) =>
    duration(env.get(name) ?? variables.find((each) => each.name === name)?.fallback ?? '')
  )
  t.ok(
    Number(one('TimeoutStopSec')) * 1000 > drain.reduce((sum, each) => sum + each),
    'it is killed after its drain'
  )
  t.match(
    one('ExecStart'),
    new RegExp(`^\\S+/node ${NODE_FLAGS.join(' ')} \\S+/bin/sallyport\\.js run$`),
    'no shell stands between it and its signals'
  )
  t.match(service.get('ExecReload'), [/ check$/, /^\/bin\/kill -HUP \$MAINPID$/])
  t.equal(one('KillMode'), 'mixed')
  t.match(service.get('SystemCallFilter'), ['@system-service'])
  for (const key of ['DynamicUser', 'NoNewPrivileges', 'PrivateTmp', 'ProtectHome']) t.equal(one(key), 'yes')
  t.equal(one('ProtectSystem'), 'strict')
  t.notOk(service.has('MemoryDenyWriteExecute'), 'V8 would not start')
  const port = Number(unit('sallyport.socket').get('ListenStream')?.[0])
  t.ok(port >= 1024 || one('AmbientCapabilities') === 'CAP_NET_BIND_SERVICE')
})
