import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'

const top = fileURLToPath(new URL('..', import.meta.url))
const folder = '.github/workflows'
const read = (file: string): string => readFileSync(join(top, file), 'utf8')

interface Job {
  readonly needs?: string
  readonly permissions?: Record<string, string>
  readonly steps: readonly { readonly uses?: string; readonly run?: string; readonly with?: object }[]
}

const jobsOf = (file: string): Record<string, Job> =>
  (parse(read(file)) as { jobs: Record<string, Job> }).jobs

t.test("every workflow passes GitHub's own parser", async (t) => {
  // The package imports JSON as bundlers do, without the attribute that Node.js asks for.
  const { deregister } = registerHooks({
    load: (url, context, next) =>
      next(url, url.endsWith('.json') ? { ...context, importAttributes: { type: 'json' } } : context)
  })
  t.teardown(deregister)
  const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import(
    '@actions/workflow-parser'
  )
  const faults = async (name: string, content: string): Promise<string[]> => {
    const { context, value } = parseWorkflow({ name, content }, new NoOperationTraceWriter())
    if (value !== undefined) await convertWorkflowTemplate(context, value)
    return context.errors.getErrors().map(({ message }) => message)
  }
  // Those for the repositories of users, too.
  for (const each of [folder, 'examples/ci'])
    for (const file of readdirSync(join(top, each)).filter((name) => name.endsWith('.yml')))
      t.strictSame(await faults(file, read(`${each}/${file}`)), [], file)
  const wrong = read(`${folder}/release.yml`)
    .replace('needs: check', 'neds: check')
    .replace('github.actor', 'git.actor')
  t.match(await faults('wrong.yml', wrong), [/'neds'/, /'git'/], 'and it finds what is wrong')
})

t.test('every action has a version, and no job more permissions than it says', async (t) => {
  for (const file of readdirSync(join(top, folder))) {
    t.strictSame((parse(read(`${folder}/${file}`)) as Job).permissions, { contents: 'read' }, file)
    for (const [name, { steps }] of Object.entries(jobsOf(`${folder}/${file}`)))
      for (const { uses } of steps)
        if (uses !== undefined) t.match(uses, /@(v\d+|[0-9a-f]{40})$/, `${file}: ${name}`)
  }
})

t.test('nothing is released before everything has passed, or without provenance', async (t) => {
  const jobs = jobsOf(`${folder}/release.yml`)
  const needs = (name: string): string[] => {
    const first = jobs[name]?.needs
    return first === undefined ? [] : [first, ...needs(first)]
  }
  for (const name of Object.keys(jobs)) if (name !== 'check') t.ok(needs(name).includes('check'), name)
  const runs = (name: string): string => jobs[name]?.steps.map(({ run = '' }) => run).join('\n') ?? ''
  t.match(runs('check'), '.ci/run')
  t.match(runs('check'), 'GITHUB_REF_NAME', 'the tag is compared with the version')
  t.match(runs('package'), /npm(@\d+)? publish .* --provenance/)
  const build = jobs['image']?.steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))
  t.match(build?.with, { sbom: true, provenance: 'mode=max' })
  for (const name of ['package', 'image'])
    t.match(jobs[name]?.permissions, { 'id-token': 'write', attestations: 'write' }, name)
})

t.test('the SBOM lists every package that a user installs, and no other', async (t) => {
  t.match(read(`${folder}/release.yml`), 'node tools/sbom.ts > sallyport.cdx.json')
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(top, 'tools/sbom.ts')], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26
  })
  t.equal(status, 0, stderr)
  const bom = JSON.parse(stdout) as {
    bomFormat: string
    metadata: { component: { name: string; purl: string } }
    components: { name: string; version: string; purl: string }[]
    dependencies: { ref: string; dependsOn: string[] }[]
  }
  const { version, dependencies, devDependencies } = JSON.parse(read('package.json')) as {
    version: string
    dependencies: object
    devDependencies: object
  }
  t.match(bom, {
    bomFormat: 'CycloneDX',
    metadata: { component: { name: 'sallyport', purl: `pkg:npm/sallyport@${version}` } }
  })
  const names = new Set(bom.components.map(({ name }) => name))
  for (const name of Object.keys(dependencies)) t.ok(names.has(name), name)
  for (const name of ['tap', 'typescript', '@biomejs/biome'])
    t.ok(name in devDependencies && !names.has(name), name)
  // The graph is closed: what a package needs is in it, so that nothing is missing.
  const refs = new Set(bom.components.map(({ name, version }) => `${name}@${version}`))
  for (const { ref, dependsOn } of bom.dependencies)
    for (const each of dependsOn) t.ok(refs.has(each), `${ref} needs ${each}`)
  const reached = new Set<string>()
  const edges = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]))
  const visit = (ref: string): void => {
    if (reached.has(ref)) return
    reached.add(ref)
    for (const each of edges.get(ref) ?? []) visit(each)
  }
  visit(`sallyport@${version}`)
  t.strictSame(
    [...refs].filter((ref) => !reached.has(ref)),
    [],
    'and all of it is needed'
  )
})
