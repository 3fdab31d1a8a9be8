import { isObject } from '../../lib/schema.ts'
import type { SourceLine } from '../source-text.ts'
import { Node } from './node.ts'

/** Reads the labels of the services of a Compose file as a config of Traefik. */
export function nodeOfLabels(compose: Node): Node {
  const root: Tree = {}
  const lines = new Map<string, SourceLine>()
  for (const [name, service] of compose.get('services').entries()) {
    const own: Tree = {}
    const labels = service.get('labels').exists() ? service.get('labels') : service.get('deploy', 'labels')
    for (const [key, value, line] of pairsOf(labels)) {
      const path = key
        .replaceAll(/\[(\d+)\]/g, '.$1')
        .split('.')
        .slice(1)
      if (!/^traefik\./i.test(key) || path.length > MAX_DEPTH) continue
      put(own, path, value)
      for (let i = 1; i <= path.length; i++) setFirst(lines, pathKey(path.slice(0, i)), line)
    }
    if (String(own['enable']) === 'false') continue
    addUrls(own, name)
    merge(root, own, 0)
  }
  return new Node(root, (path) => {
    for (let i = path.length; i > 0; i--) {
      const line = lines.get(pathKey(path.slice(0, i).map(String)))
      if (line !== undefined) return line
    }
    return compose.line
  })
}

interface Tree {
  [key: string]: unknown
}

const MAX_DEPTH = 16

const pathKey = (path: readonly string[]): string => path.join('.').toLowerCase()

function setFirst(lines: Map<string, SourceLine>, key: string, line: SourceLine): void {
  if (!lines.has(key)) lines.set(key, line)
}

function pairsOf(labels: Node): [string, string, SourceLine][] {
  if (Array.isArray(labels.value))
    return labels.items().flatMap((item): [string, string, SourceLine][] => {
      const [, key, value = ''] = /^([^=]+)=?([\s\S]*)$/.exec(item.text() ?? '') ?? []
      return key === undefined ? [] : [[key, unescaped(value), item.line]]
    })
  return labels.entries().map(([key, value]) => [key, unescaped(value.text() ?? ''), value.line])
}

// Compose reads "$$" as a dollar sign, and has more forms of a variable than a config.
const unescaped = (text: string): string =>
  text
    .replaceAll(/\$\{(\w+):?\?[^}]*\}/g, (_whole, name: string) => `\${${name}}`)
    .replaceAll(/\$\{(\w+)-([^}]*)\}/g, (_whole, name: string, value: string) => `\${${name}:-${value}}`)
    .replaceAll('$$', '$')

const UNSAFE = new Set(['__proto__', 'constructor', 'prototype'])

function put(tree: Tree, path: readonly string[], value: string): void {
  let here = tree
  if (path.some((key) => UNSAFE.has(key))) return
  for (const key of path.slice(0, -1)) {
    const inner = here[key]
    if (isObject(inner)) here = inner as Tree
    else {
      const made: Tree = {}
      here[key] = made
      here = made
    }
  }
  const last = path.at(-1)
  if (last !== undefined) here[last] = value
}

function merge(into: Tree, from: Tree, depth: number): void {
  for (const [key, value] of Object.entries(from)) {
    const known = into[key]
    if (isObject(known) && isObject(value) && depth < MAX_DEPTH)
      merge(known as Tree, value as Tree, depth + 1)
    else into[key] = value
  }
}

/** The server of a container is its port; a router without a service has the only one of its container. */
function addUrls(own: Tree, container: string): void {
  const http = new Node(own, () => ({ file: '', line: 0 })).get('http')
  const services = http.get('services').entries()
  for (const [, service] of services) {
    const balancer = service.get('loadBalancer').value
    const server = service.get('loadBalancer', 'server')
    const port = server.get('port').text()
    if (isObject(balancer) && port !== undefined)
      (balancer as Tree)['servers'] = [
        { url: `${server.get('scheme').text() ?? 'http'}://${container}:${port}` }
      ]
  }
  for (const [, router] of http.get('routers').entries())
    if (isObject(router.value) && !router.get('service').exists() && services.length === 1)
      (router.value as Tree)['service'] = services[0]?.[0]
}
