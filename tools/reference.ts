// Writes the reference of the documentation, one page for each concern and target, from the schema.

import { readdirSync, readFileSync } from 'node:fs'
import { expansionsOf } from '../src/config/catalog.ts'
import { coreOptions, markedSchema, routeOptions } from '../src/config/schema.ts'
import { catalog } from '../src/gateway/catalog.ts'
import type { Concern, Target } from '../src/kit/index.ts'
import { cell, code, defaultText, describe, examplesOf, type OptionSchema, typeText } from './option-text.ts'

const DOCS = new URL('../docs/', import.meta.url)
const HEAD =
  '<!-- "npm run docs:reference" writes this page from the schema; to change it, change the description of the option. -->\n'
// Longer examples take several lines.
const LINE = 80
const TABLE = '| Option | Type | Default | |\n|---|---|---|---|\n'

const schema = markedSchema(catalog) as unknown as OptionSchema & { $defs: { route: OptionSchema } }
const onRoute = schema.$defs.route.properties ?? {}
const expansions = Object.fromEntries(expansionsOf(catalog).map(({ key, options }) => [key, options]))
const text = describe([schema, schema.$defs.route])

/** The options of an object, and what a route may set of them. */
interface Options {
  /** The path of the object inside its concern; empty for the concern itself. */
  readonly path: string
  readonly schema: OptionSchema
  /** The schema on a route; undefined if the page or the object says already that it can't be set there. */
  readonly route: OptionSchema | undefined
}

/** Returns the pages of the reference, by file name. */
export function referencePages(): Map<string, string> {
  const pages = new Map([
    ['README.md', indexPage()],
    ['root.md', rootPage()],
    ['routes.md', routesPage()]
  ])
  for (const target of catalog.targets) pages.set(fileOf(target.key), page(target, [placesOfTarget(target)]))
  for (const concern of catalog.concerns)
    pages.set(fileOf(concern.key), page(concern, [placesOf(concern), ...stateOf(concern)]))
  return pages
}

const fileOf = (key: string): string =>
  `${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}.md`

function page({ key, options }: Concern | Target, facts: readonly string[]): string {
  const option = options as OptionSchema
  const [example] = examplesOf(option)
  const guides = guidesTo(fileOf(key))
  const list = [...facts, ...(guides.length === 0 ? [] : [`Explained in ${guides.join(', ')}`])]
  return `${HEAD}
# ${key}

${text(option.description)}

${list.map((fact) => `- ${fact}`).join('\n')}

\`\`\`jsonc
"${key}": ${exampleText(example)}
\`\`\`
${tables({ path: '', schema: option, route: onRoute[key] })}`
}

function exampleText(example: unknown): string {
  const line = code(example).slice(1, -1)
  return line.length <= LINE ? line : JSON.stringify(example, null, 2)
}

/** Writes the table of an object's options, and those of the objects inside it. */
function tables({ path, schema, route }: Options): string {
  const { object, isEntry } = objectIn(schema)
  if (object === undefined) return ''
  const allowed = route === undefined || isEntry ? undefined : objectIn(route).object
  const options = Object.entries(object.properties ?? {})
  const heading = path === '' ? '' : `## ${path}\n\n${headline(schema, object)}\n\n`
  const rows = options.map(([name, option]) => {
    const isRootOnly = allowed !== undefined && allowed.properties?.[name] === undefined
    return row(name, option, { isRequired: object.required?.includes(name) === true, isRootOnly })
  })
  // A map of the user's own names has none of its own, and says in its type what its values are.
  const patterns = rows.length === 0 ? [] : Object.entries(object.patternProperties ?? {})
  for (const [pattern, option] of patterns)
    rows.push(row(nameOf(pattern), option, { isRequired: false, isRootOnly: false }))
  const own = rows.length === 0 ? '' : `\n${heading}${TABLE}${rows.join('\n')}\n`
  const below = path === '' ? '' : `${path}.`
  const inner = options.map(([name, option]) =>
    tables({ path: below + name, schema: option, route: allowed?.properties?.[name] })
  )
  const entries = Object.values(object.patternProperties ?? {}).map((entry) =>
    tables({ path: `${below}NAME`, schema: entry, route: undefined })
  )
  return [own, ...inner, ...entries].join('')
}

/** Returns how the reference writes the names that match a pattern, such as "header:NAME". */
const nameOf = (pattern: string): string =>
  pattern.replaceAll(/^\^|\$$/g, '').replaceAll(/(?:(?:\[[^\]]*\]|\.)[+*]?)+/g, 'NAME')

function headline(schema: OptionSchema, object: OptionSchema): string {
  if (!objectIn(schema).isEntry) return text(object.description ?? schema.description)
  return `An entry of the list. ${text(object.description)}`.trim()
}

/** Finds the object with options in the forms of an option, or in the entries of its list. */
function objectIn(schema: OptionSchema): { object: OptionSchema | undefined; isEntry: boolean } {
  const forms = [schema, ...(schema.anyOf ?? [])]
  const hasOptions = (each: OptionSchema): boolean =>
    each.properties !== undefined || each.patternProperties !== undefined
  const direct = forms.find(hasOptions)
  if (direct !== undefined) return { object: direct, isEntry: false }
  const entries = forms.flatMap(({ items }) => (items === undefined ? [] : [items, ...(items.anyOf ?? [])]))
  return { object: entries.find(hasOptions), isEntry: true }
}

function row(
  name: string,
  option: OptionSchema,
  { isRequired, isRootOnly }: { readonly isRequired: boolean; readonly isRootOnly: boolean }
): string {
  const examples = examplesOf(option).slice(0, 2).map(code)
  const about = [text(option.description)]
  if (isRootOnly && !/at the root only/i.test(option.description ?? '')) about.push('At the root only.')
  if (examples.length > 0) about.push(`Example: ${examples.join(', ')}`)
  const cells = [`\`${name}\``, typeText(option), defaultText(option, isRequired), about.join(' ')]
  return `| ${cells.map(cell).join(' | ')} |`
}

function placesOf({ override, rootOnly, named }: Concern): string {
  if (named === true) return 'At the root, and in included files'
  if (override === false) return rootOnly === true ? 'At the root of the main file only' : 'At the root only'
  return 'At the root, in groups and on routes; `false` switches it off there, `true` on'
}

function placesOfTarget({ rootDefaults, groupDefaults }: Target): string {
  const group = groupDefaults === true ? ', and in groups as the target of their routes' : ''
  return `On routes${group}${rootDefaults === true ? '; at the root, the defaults of all of them' : ''}`
}

function stateOf({ always, given, variables = {}, named }: Concern): string[] {
  if (named === true) return []
  const set = given === undefined ? [] : Object.entries(variables)
  return [
    onByDefault(always),
    ...set.map(([option, variable]) => `\`${variable}\` in the environment sets \`${option}\`, too`)
  ]
}

function onByDefault(always: Concern['always']): string {
  if (typeof always !== 'function') return always === true ? 'On by default' : 'Off by default'
  const with_ = catalog.concerns.filter(({ key }) => always((each) => each === key))
  return `On by default where ${with_.map(({ key }) => `\`${key}\``).join(' or ')} is configured`
}

/** Lists the pages that link to a page of the reference. */
const guidesTo = (file: string): string[] =>
  readdirSync(DOCS)
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .map((name) => ({ name, page: readFileSync(new URL(name, DOCS), 'utf8') }))
    .filter(({ page }) => page.includes(`](reference/${file}`))
    .map(({ name, page }) => `[${/^# (.*)$/m.exec(page)?.[1] ?? name}](../${name})`)

/** Returns the table of options that belong to no concern. */
const tableOf = (options: Readonly<Record<string, unknown>>): string =>
  tables({
    path: '',
    schema: { properties: options as Readonly<Record<string, OptionSchema>> },
    route: undefined
  })

const rootPage = (): string => `${HEAD}
# Root options

These options of \`gateway.json\` belong to no concern. They stand at the root of the main file only.
${tableOf(coreOptions)}`

const routesPage = (): string => `${HEAD}
# Route options

An entry of \`routes\` is a route, which has a [target](README.md#targets), or a group, which has \`routes\`, \`include\` or
${codes(Object.keys(expansions))}. Beside these options, both have [concerns](README.md#concerns).
${tableOf({ ...routeOptions, routes: onRoute['routes'], ...expansions })}`

const codes = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(', ')

const indexRows = (modules: readonly (Concern | Target)[]): string =>
  modules
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(
      ({ key, options }) =>
        `| [\`${key}\`](${fileOf(key)}) | ${cell(text((options as OptionSchema).description))} |`
    )
    .join('\n')

const indexPage = (): string => `${HEAD}
# Reference

Every option of \`gateway.json\`: its type, its default, an example, and where it may stand. How options of the root,
groups and routes are merged is in [the config file](../config.md). See also [commands](../commands.md) and
[error codes](../errors.md).

- [Root options](root.md): ${codes(Object.keys(coreOptions))}
- [Route options](routes.md): ${codes([...Object.keys(routeOptions), ...Object.keys(expansions)])}

## Targets

A target answers the requests of a route. Each route has one.

| | |
|---|---|
${indexRows(catalog.targets)}

## Concerns

A concern lets a request through, refuses it, or changes something about it.

| | |
|---|---|
${indexRows(catalog.concerns)}

## Values

- A **duration** is a number with \`ms\`, \`s\`, \`m\`, \`h\` or \`d\`: \`"800ms"\`, \`"30s"\`, \`"1.5h"\`.
- A **size** is a number with \`b\`, \`kb\`, \`mb\` or \`gb\`, each 1024 of the one before: \`"64kb"\`. A **rate** is a size per
  second: \`"1kb/s"\`.
- A **share** is a percentage: \`"5%"\`.
- A **file name** is relative to the config file that has it.
- \`false\` means none wherever a size, a time or a limit may be \`false\`. On a route or a group, \`false\` unsets any option.
- Every object may have keys that begin with \`x-\`, for your own notes.
`
