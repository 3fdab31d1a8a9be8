import type { JsonObject } from '../json.ts'
import { secretHeader } from '../secret-headers.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literalTemplate } from '../values.ts'

/** Changes of headers by modifier/martian. */
export interface HeaderChanges {
  readonly request: JsonObject
  readonly response: JsonObject
}

/** Reads the modifiers that set, add and remove headers; returns the name of one that has no translation. */
export function readMartian(
  node: SourceNode,
  changes: HeaderChanges,
  translation: Translation
): string | undefined {
  for (const name of node.keys) {
    const modifier = node.get(name)
    const found =
      name === 'fifo.Group'
        ? readGroup(modifier, changes, translation)
        : readModifier(name, modifier, changes, translation)
    if (found !== undefined) return found
  }
  return undefined
}

function readGroup(group: SourceNode, changes: HeaderChanges, translation: Translation): string | undefined {
  for (const item of group.get('modifiers').items) {
    const found = readMartian(item, changes, translation)
    if (found !== undefined) return found
  }
  return undefined
}

function readModifier(
  name: string,
  modifier: SourceNode,
  changes: HeaderChanges,
  translation: Translation
): string | undefined {
  const scopes = modifier.get('scope').texts
  const header = modifier.get('name').text?.toLowerCase() ?? ''
  const text = modifier.get('value').text ?? ''
  const value = secretHeader(header, text, translation) ?? literalTemplate(text)
  for (const scope of ['request', 'response'] as const) {
    if (!scopes.includes(scope)) continue
    if (name === 'header.Modifier') changes[scope][header] = value
    else if (name === 'header.Append') changes[scope][header] = { add: value }
    else if (name === 'header.Blacklist')
      for (const each of modifier.get('names').texts) changes[scope][each.toLowerCase()] = false
    else return name
  }
  return scopes.length === 0 ? name : undefined
}
