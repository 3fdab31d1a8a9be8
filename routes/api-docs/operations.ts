import { escapeHtml } from '../../src/lib/html.ts'
import { isObject } from '../../src/lib/schema.ts'

type Node = Readonly<Record<string, unknown>>

/** Returns the operations of an OpenAPI document as rows of a table, step by step; every text of it is escaped. */
export function* operationRows(document: Node): Generator<void, string[]> {
  const rows: string[] = []
  for (const [path, item] of entriesOf(document['paths']))
    for (const [method, operation] of entriesOf(item)) {
      rows.push(rowOf(document, { path, method, operation }))
      yield
    }
  return rows
}

interface Operation {
  readonly path: string
  readonly method: string
  readonly operation: Node
}

function rowOf(document: Node, { path, method, operation }: Operation): string {
  const details = [
    listOf('Parameters', parametersOf(document, operation)),
    listOf('Body', Object.keys(nodeAt(operation, 'requestBody', 'content')).map(codeOf)),
    listOf('Responses', responsesOf(document, operation))
  ].join('')
  const deprecated = operation['deprecated'] === true ? '<p><strong>Deprecated.</strong></p>' : ''
  return `<tr>
<td><code class="method">${escapeHtml(method.toUpperCase())}</code></td>
<td><code>${escapeHtml(path)}</code></td>
<td>${deprecated}${paragraph(operation['summary'])}${paragraph(operation['description'])}<details><summary>Details</summary>${details}</details></td>
<td>${credentialsOf(operation['security'])}</td>
</tr>`
}

function parametersOf(document: Node, { parameters }: Node): string[] {
  return (Array.isArray(parameters) ? parameters : []).map((each) => {
    const parameter = resolve(document, each)
    const required = parameter['required'] === true ? ', required' : ''
    return `${codeOf(textOf(parameter['name']))} (${escapeHtml(textOf(parameter['in']))}${required})${afterColon(parameter['description'])}`
  })
}

const responsesOf = (document: Node, { responses }: Node): string[] =>
  Object.entries(isObject(responses) ? responses : {}).map(
    ([status, response]) => `${codeOf(status)}${afterColon(resolve(document, response)['description'])}`
  )

/** Returns the alternatives of a request's credentials. */
function credentialsOf(security: unknown): string {
  const alternatives = (Array.isArray(security) ? security : []).map((each) =>
    Object.entries(isObject(each) ? each : {})
      .map(([name, scopes]) =>
        [
          codeOf(name),
          ...(Array.isArray(scopes) ? scopes : []).map((scope) => escapeHtml(textOf(scope)))
        ].join(' ')
      )
      .join(' and ')
  )
  return alternatives.map((each) => each || 'none').join('<br>or ') || 'none'
}

/** Follows a reference to a component of the document; the component itself is not a reference. */
function resolve(document: Node, value: unknown): Node {
  if (!isObject(value)) return {}
  const [, kind, name] = /^#\/components\/([^/]+)\/([^/]+)$/.exec(textOf(value['$ref'])) ?? []
  return kind === undefined || name === undefined
    ? value
    : nodeAt(document, 'components', kind, name.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function nodeAt(node: Node, ...keys: readonly string[]): Node {
  let found: unknown = node
  for (const key of keys) found = isObject(found) && Object.hasOwn(found, key) ? found[key] : undefined
  return isObject(found) ? found : {}
}

const entriesOf = (value: unknown): [string, Node][] =>
  Object.entries(isObject(value) ? value : {}).flatMap(([key, node]) => (isObject(node) ? [[key, node]] : []))

const listOf = (title: string, items: readonly string[]): string =>
  items.length === 0 ? '' : `<h2>${title}</h2><ul>${items.map((item) => `<li>${item}</li>`).join('')}</ul>`

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const codeOf = (text: string): string => `<code>${escapeHtml(text)}</code>`
const paragraph = (value: unknown): string =>
  textOf(value) === '' ? '' : `<p>${escapeHtml(textOf(value))}</p>`
const afterColon = (value: unknown): string => (textOf(value) === '' ? '' : `: ${escapeHtml(textOf(value))}`)
