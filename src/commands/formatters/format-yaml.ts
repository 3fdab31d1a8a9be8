import { type Document, isMap, Lexer, parseDocument, Scalar, type Tags, visit, type YAMLMap } from 'yaml'

// A list or map in brackets that does not fit into a line of this width gets several lines.
const MAX_WIDTH = 120

// The width of folded text (">"), whose line breaks are no part of the value.
const FOLDED_WIDTH = 80

// Blank lines around comments may need more than one turn until they stay.
const MAX_TURNS = 10

/** Formats a valid YAML document: two spaces of indentation, with its comments and single blank lines. */
export function formatYaml(text: string): string {
  let before = text.replaceAll(/\r\n?/g, '\n')
  let formatted = print(before)
  for (let turn = 1; turn < MAX_TURNS && formatted !== before; turn++) {
    before = formatted
    formatted = print(before)
  }
  return text.includes('\r\n') ? formatted.replaceAll('\n', '\r\n') : formatted
}

function print(text: string): string {
  const document = parseDocument(text, { customTags: withoutFolding })
  padMapsOnly(document)
  return document.toString({ lineWidth: MAX_WIDTH })
}

/** Returns the comments of a YAML text in their order. */
export function yamlComments(text: string): string[] {
  const comments: string[] = []
  let before = ''
  for (const token of new Lexer().lex(text)) {
    // The lexer emits this character in front of a scalar, which may begin with "#" in a block.
    if (token.startsWith('#') && before !== '\x1f') comments.push(token.trimEnd())
    before = token
  }
  return comments
}

/** Prints blanks inside of "{ }", but not of "[]". */
function padMapsOnly(document: Document): void {
  visit(document, {
    Collection(_key, node) {
      const print = node.toString.bind(node) as YAMLMap['toString']
      const flowCollectionPadding = isMap(node) ? ' ' : ''
      node.toString = (context, ...rest) =>
        context === undefined ? print() : print({ ...context, flowCollectionPadding }, ...rest)
    }
  })
}

/** Returns tags that print strings on one line, except folded text. */
const withoutFolding = (tags: Tags): Tags =>
  tags.map((tag) => {
    if (typeof tag === 'string' || tag.tag !== 'tag:yaml.org,2002:str' || tag.collection !== undefined)
      return tag
    return {
      ...tag,
      stringify(item, context, ...rest) {
        const lineWidth = item.type === Scalar.BLOCK_FOLDED ? FOLDED_WIDTH : 0
        return (
          tag.stringify?.(item, { ...context, options: { ...context.options, lineWidth } }, ...rest) ?? ''
        )
      }
    }
  })
