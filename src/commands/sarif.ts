import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Fault, Place } from '../config/fault.ts'
import type { AcceptedWarning, CheckedWarning } from '../config/finding.ts'
import type { Severity, WarningRule } from '../kit/warning.ts'

/** What a run of `check` has found. */
export interface SarifFindings {
  readonly version: string
  readonly errors: readonly Fault[]
  readonly warnings: readonly CheckedWarning[]
  readonly accepted: readonly AcceptedWarning[]
}

/** Returns the log of a run in SARIF 2.1.0, as code scanning of GitHub reads it; accepted warnings are suppressed, with their reasons. */
export function sarifLog({ version, errors, warnings, accepted }: SarifFindings): object {
  const rules = [
    ...new Map([...warnings, ...accepted].map((rule) => [rule.code, rule])).values(),
    ...(errors.length === 0 ? [] : [CONFIG_ERROR])
  ]
  const help = helpTexts()
  const root = repositoryRoot()
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'sallyport',
            semanticVersion: version,
            rules: rules.map((rule) => ruleOf(rule, help))
          }
        },
        // Columns count as editors and JavaScript do.
        columnKind: 'utf16CodeUnits',
        originalUriBaseIds: {
          SRCROOT: {
            description: { text: 'The root of the repository, else the folder in which "check" ran.' }
          }
        },
        results: [
          ...errors.map((error) => resultOf({ ...error, ...CONFIG_ERROR, places: [error] }, root)),
          ...warnings.map((warning) => resultOf(warning, root)),
          ...accepted.map((warning) => ({
            ...resultOf(warning, root),
            suppressions: [{ kind: 'inSource', status: 'accepted', justification: warning.reason }]
          }))
        ]
      }
    ]
  }
}

const CONFIG_ERROR: WarningRule = {
  code: 'SP_ERR_CONFIG',
  severity: 'high',
  title: 'The config is not valid, and no gateway starts with it'
}

/** The levels of SARIF (section 3.27.10). */
const LEVELS: Readonly<Record<Severity, string>> = { high: 'error', medium: 'warning', low: 'note' }

function ruleOf({ code, severity, title }: WarningRule, { uri, texts }: Help): object {
  const text = texts.get(code) ?? `${title}.`
  return {
    id: code,
    shortDescription: { text: title },
    fullDescription: { text: `${title}.` },
    help: { text, markdown: text },
    ...(uri === undefined ? {} : { helpUri: `${uri}${texts.has(code) ? `#${code.toLowerCase()}` : ''}` }),
    defaultConfiguration: { level: LEVELS[severity] }
  }
}

const resultOf = ({ code, severity, message, path, places }: CheckedWarning, root: string): object => ({
  ruleId: code,
  level: LEVELS[severity],
  message: { text: path === '' ? message : `${path}: ${message}` },
  locations: places.slice(0, 1).map((place) => locationOf(place, root)),
  relatedLocations: places.slice(1).map((place, id) => ({ id, ...locationOf(place, root) })),
  // A warning that moves to another line is the same one.
  partialFingerprints: { 'sallyport/v1': `${code} ${path} ${message}` }
})

const locationOf = ({ file, line = 1, column = 1 }: Place, root: string): { physicalLocation: object } => ({
  physicalLocation: {
    artifactLocation: { uri: uriOf(file, root), uriBaseId: 'SRCROOT' },
    region: { startLine: line, startColumn: column }
  }
})

/** Returns the URI of a file relative to a folder. */
const uriOf = (file: string, root: string): string =>
  relative(root, resolve(file)).split(sep).map(encodeURIComponent).join('/')

/** Returns the root of the repository, which code scanning resolves URIs against; without one, the working directory. */
function repositoryRoot(): string {
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.git'))) return folder
    if (folder === dirname(folder)) return process.cwd()
  }
}

/** The page of warnings that the package has: its URI, and its text for each code; nothing where it was left out. */
interface Help {
  readonly uri: string | undefined
  readonly texts: ReadonlyMap<string, string>
}

function helpTexts(): Help {
  const file = join(dirname(fileURLToPath(import.meta.resolve('sallyport/package.json'))), 'docs/warnings.md')
  if (!existsSync(file)) return { uri: undefined, texts: new Map() }
  const [, ...sections] = readFileSync(file, 'utf8').split(/^## (?=SP_WARN_)/m)
  const texts = sections.map((section): [string, string] => {
    const end = section.indexOf('\n')
    return [section.slice(0, end), section.slice(end).trim()]
  })
  return { uri: pathToFileURL(file).href, texts: new Map(texts) }
}
