// Prints how much of other gateways' configs "sallyport import" translates, as the table in docs/import.md: FOLDER has a
// folder for each format, with configs in it; a config that has files beside it is FORMAT/NAME/NAME.EXTENSION.
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parse } from 'jsonc-parser'
import { catalog } from '../src/gateway/catalog.ts'
import { importFile, isFormatName } from '../src/import/index.ts'

interface Counts {
  configs: number
  constructs: number
  translated: number
  noted: number
  routes: number
  closed: number
}

const nothing = (): Counts => ({ configs: 0, constructs: 0, translated: 0, noted: 0, routes: 0, closed: 0 })

const [folder = '.'] = process.argv.slice(2)
const total = nothing()
const rows = [
  '| | Configs | Constructs | Translated | Noted | Routes | Closed routes |',
  '|---|---|---|---|---|---|---|'
]
for (const format of readdirSync(folder).filter(isFormatName)) {
  const counts = nothing()
  for (const file of configsIn(join(folder, format))) {
    const { text, translation } = await importFile(format, file, catalog)
    const routes = leavesOf(parse(text))
    counts.configs++
    counts.constructs += translation.total
    counts.translated += translation.translated
    counts.noted += translation.notes.length
    counts.routes += routes.length
    counts.closed += routes.filter(({ respond }) => JSON.stringify(respond) === '{"status":403}').length
  }
  for (const key of Object.keys(counts) as (keyof Counts)[]) total[key] += counts[key]
  rows.push(row(format, counts))
}
process.stdout.write(`${[...rows, row('all', total)].join('\n')}\n`)

function configsIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (!entry.isDirectory()) return [join(folder, entry.name)]
    const inner = join(folder, entry.name)
    return readdirSync(inner)
      .filter((name) => basename(name).startsWith(`${entry.name}.`))
      .map((name) => join(inner, name))
  })
}

interface Entry {
  readonly routes?: readonly Entry[]
  readonly respond?: unknown
}

function leavesOf(entry: Entry): Entry[] {
  return entry.routes === undefined ? [entry] : entry.routes.flatMap(leavesOf)
}

function row(name: string, counts: Counts): string {
  return `| ${[name, ...Object.values(counts)].join(' | ')} |`
}
