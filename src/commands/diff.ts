import { type Base, findBase } from '../diff/base-revision.ts'
import { comparing, findChanges } from '../diff/diff-plans.ts'
import type { Finding } from '../diff/findings.ts'
import { loadSide } from '../diff/load-side.ts'
import { diffMarkdown } from '../diff/print-markdown.ts'
import { diffText } from '../diff/print-text.ts'
import { type ReplayContext, type ReplayResult, replayLog } from '../diff/replay.ts'
import type { DiffReport } from '../diff/report.ts'
import { CHANGE_CLASSES, type ChangeClass } from '../kit/comparison.ts'
import { nearest } from '../lib/schema.ts'
import { unreadable } from '../lib/unreadable.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { loadEnvFiles } from './env-files.ts'
import { CommandError, throwConfigErrors, UsageError } from './outcome.ts'
import { JSON_OPTION, printJson } from './print-json.ts'

const FORMATS = ['text', 'md', 'json'] as const

type Format = (typeof FORMATS)[number]

// Something that was asked for does not hold, as in "explain" and "test".
const EXIT_FAILED = 3

export const command: Command = {
  summary: 'tells what changes for requests from one config to another',
  usage:
    'sallyport diff OLD NEW | --base REVISION [NEW] [-c FILE] [--fail-on CLASSES] [--strict] [--replay FILE] [--format text|md|json] [--json]',
  options: {
    config: CONFIG_OPTION,
    base: {
      type: 'string',
      value: 'REVISION',
      about: 'takes the old config from where a git revision and HEAD part, such as origin/main'
    },
    'fail-on': {
      type: 'string',
      value: 'CLASSES',
      about: 'exits with 3 if there are such changes, such as widened-access,exposure'
    },
    strict: { type: 'boolean', about: 'also exits with 3 if a third-party gate has changed' },
    replay: {
      type: 'string',
      value: 'FILE',
      about: 'says how many requests of an access log are decided differently'
    },
    format: { type: 'string', value: FORMATS, about: 'prints text, the default, Markdown or JSON' },
    json: JSON_OPTION
  },
  positionals: ['OLD', 'NEW'],
  async run({ values, positionals }) {
    const format = formatOf(values)
    const failOn = classesOf(values['fail-on'])
    if (values['strict'] === true) failOn.add('unknown')
    const config = loadEnvFiles(process.env, values['config'])
    const { oldName, newName } = namesOf(positionals, values['base'], config)
    const base = typeof values['base'] === 'string' ? await findBase(oldName, newName) : undefined
    const report = await compare({ oldName, newName, base, log: values['replay'] }, failOn).catch(
      throwConfigErrors
    )
    if (format === 'json') printJson(jsonOf(report))
    else process.stdout.write(format === 'md' ? diffMarkdown(report) : diffText(report))
    return report.failed.length > 0 ? EXIT_FAILED : 0
  }
}

interface Compared {
  readonly oldName: string
  readonly newName: string
  readonly base: Base | undefined
  /** The access log to replay. */
  readonly log: unknown
}

async function compare(
  { oldName, newName, base, log }: Compared,
  failOn: ReadonlySet<ChangeClass>
): Promise<DiffReport> {
  await using after = await loadSide(newName, process.env)
  await using before = await loadSide(base?.name ?? oldName, process.env, newName)
  const prepared = await comparing(before, after)
  const findings = findChanges(prepared)
  const found = new Set(findings.map((finding) => finding.class))
  return {
    before: before.name,
    after: after.name,
    ...(base === undefined ? {} : { base }),
    findings,
    failed: [...failOn].filter((each) => found.has(each)),
    ...(typeof log === 'string' ? { replay: await replay(log, prepared) } : {})
  }
}

async function replay(file: string, context: ReplayContext): Promise<ReplayResult> {
  try {
    return await replayLog(file, context)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    throw new CommandError(unreadable(file, error))
  }
}

function formatOf({ format, json }: Readonly<Record<string, unknown>>): Format {
  if (json === true && format !== undefined && format !== 'json')
    throw new UsageError(`expected --json or --format, got both; usage: ${command.usage}`)
  if (json === true) return 'json'
  const found = FORMATS.find((each) => each === (format ?? 'text'))
  if (found === undefined)
    throw new UsageError(
      `expected --format ${FORMATS.join('|')}, got "${String(format)}"; usage: ${command.usage}`
    )
  return found
}

function classesOf(list: unknown): Set<ChangeClass> {
  const names = typeof list === 'string' ? list.split(',').map((name) => name.trim()) : []
  return new Set(
    names.map((name) => {
      const found = CHANGE_CLASSES.find((each) => each === name)
      if (found !== undefined) return found
      const near = nearest(name, CHANGE_CLASSES)
      throw new UsageError(
        `expected classes of changes in --fail-on (${CHANGE_CLASSES.join(', ')}), got "${name}"${near === undefined ? '' : `; did you mean "${near}"?`}`
      )
    })
  )
}

function namesOf(
  positionals: readonly string[],
  base: unknown,
  config: string
): { readonly oldName: string; readonly newName: string } {
  const [first, second] = positionals
  if (typeof base === 'string') {
    if (second !== undefined)
      throw new UsageError(`expected the new config alone beside --base, got two; usage: ${command.usage}`)
    return { oldName: base, newName: first ?? config }
  }
  if (first === undefined || second === undefined)
    throw new UsageError(`expected two configs, got ${positionals.length}; usage: ${command.usage}`)
  return { oldName: first, newName: second }
}

const jsonOf = ({ before, after, base, findings, failed, replay }: DiffReport): object => ({
  before,
  after,
  ...(base === undefined ? {} : { base: { revision: base.revision, mergeBase: base.mergeBase ?? null } }),
  changes: findings.map(changeOf),
  counts: Object.fromEntries(
    CHANGE_CLASSES.map((each) => [each, findings.filter((finding) => finding.class === each).length])
  ),
  failed,
  ...(replay === undefined ? {} : { replay })
})

const changeOf = ({ class: kind, option, message, before, after, place, routes }: Finding): object => ({
  class: kind,
  option: option ?? null,
  message,
  ...(before === undefined ? {} : { before }),
  ...(after === undefined ? {} : { after }),
  place: place ?? null,
  routes
})
