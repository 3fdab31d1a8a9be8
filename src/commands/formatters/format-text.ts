import { isDeepStrictEqual } from 'node:util'
import { isYaml, parseSource } from '../../config/read-source.ts'
import { fileError } from '../../config/source.ts'
import { formatJson } from './format-json.ts'
import { formatYaml, yamlComments } from './format-yaml.ts'
import { isComment, jsonTokens } from './json-tokens.ts'

/** Formats the text of a config file by its extension; throws a ConfigError if it is malformed. */
export function formatText(path: string, name: string, text: string): string {
  const meaning = meaningOf(path, name, text)
  const formatted = isYaml(path) ? formatYaml(text) : formatJson(text)
  if (!isDeepStrictEqual(meaningOf(path, name, formatted), meaning))
    throw fileError(name, `The file can't be formatted without a change of its values or comments`)
  return formatted
}

interface Meaning {
  /** The value with the order of its keys. */
  readonly value: string
  readonly comments: readonly string[]
}

const meaningOf = (path: string, name: string, text: string): Meaning => ({
  value: JSON.stringify(parseSource(path, name, text).value),
  comments: (isYaml(path) ? yamlComments(text) : jsonComments(text)).toSorted()
})

const jsonComments = (text: string): string[] =>
  jsonTokens(text.replaceAll(/\r\n?/g, '\n'))
    .filter(isComment)
    // Lines of a comment are indented anew.
    .map((comment) => comment.text.replaceAll(/[ \t]*\n[ \t]*/g, '\n'))
