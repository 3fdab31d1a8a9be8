import { stringify } from 'yaml'

/** Prints a document as JSON. */
export const printJson = (document: object): string => `${JSON.stringify(document, null, 2)}\n`

/** Prints a document as YAML, without aliases and line breaks of its own. */
export const printYaml = (document: object): string =>
  stringify(document, { lineWidth: 0, aliasDuplicateObjects: false })
