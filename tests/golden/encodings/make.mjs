// Writes encodings.json: what @exodus/bytes 1.16 (a decoder of its own, which passes the Web Platform Tests) makes of
// every label, every byte, every pair, every longer sequence that stands for a character, and of noise.
//
//     npm pack @exodus/bytes@1.16.0 && tar xzf exodus-bytes-1.16.0.tgz && node make.mjs
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import labels from './package/fallback/encoding.labels.js'
import { TextDecoder } from './package/encoding.js'

const digest = (texts) => createHash('sha256').update(texts.join('\n')).digest('hex').slice(0, 16)
const all = Array.from({ length: 256 }, (_, i) => i)
const multi = ['gbk', 'gb18030', 'big5', 'euc-jp', 'shift_jis', 'euc-kr', 'iso-2022-jp']
const decoder = (name) => {
  const d = new TextDecoder(name, { ignoreBOM: true })
  return (bytes) => d.decode(Uint8Array.from(bytes))
}
const out = { labels: {}, single: {}, pairs: {}, longer: {}, noise: {} }
for (const [name, others] of Object.entries(labels)) {
  out.labels[name] = [...new Set([name, ...others])].sort()
  if (multi.includes(name) || name.startsWith('utf-') || name === 'replacement') continue
  out.single[name] = decoder(name)(all)
}
const number = (p) => [0x81 + Math.floor(p / 12600), 0x30 + (Math.floor(p / 1260) % 10), 0x81 + (Math.floor(p / 10) % 126), 0x30 + (p % 10)]
const longer = {
  'euc-jp': all.slice(0xa1, 0xff).map((a) => all.slice(0xa1).map((b) => [0x8f, a, b])),
  gb18030: Array.from({ length: 40 }, (_, k) => Array.from({ length: 1000 }, (_, i) => number(1000 * k + i))),
  'iso-2022-jp': all.slice(0x21, 0x7f).map((a) => all.map((b) => [0x1b, 0x24, 0x42, a, b, 0x1b, 0x28, 0x42])).concat(
    [0x42, 0x4a, 0x49].map((mode) => all.map((b) => [0x1b, 0x28, mode, b]))
  ),
}
// Bytes that a decoder may stumble over: leads, trails and markup close to one another.
const alphabet = [0x1b, 0x24, 0x28, 0x42, 0x49, 0x4a, 0x40, 0x30, 0x39, 0x3c, 0x41, 0x7e, 0x7f, 0x80, 0x81, 0x8e, 0x8f, 0xa0, 0xa1, 0xb0, 0xc9, 0xdf, 0xe0, 0xfa, 0xfe, 0xff, 0x21, 0x0e]
let state = 1
const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 16
const noise = Array.from({ length: 2000 }, () => Array.from({ length: next() % 24 }, () => alphabet[next() % alphabet.length]))
for (const name of multi) {
  const d = decoder(name)
  out.pairs[name] = all.map((a) => digest(all.map((b) => d([a, b]))))
  if (longer[name]) out.longer[name] = longer[name].map((row) => digest(row.map(d)))
  out.noise[name] = Array.from({ length: 20 }, (_, k) => digest(noise.slice(100 * k, 100 * k + 100).map(d)))
}
const lines = Object.entries(out).map(([k, v]) => JSON.stringify(k) + ': {\n' + Object.entries(v).map(([n, x]) => '  ' + JSON.stringify(n) + ': ' + JSON.stringify(x)).join(',\n') + '\n}')
fs.writeFileSync('encodings.json', '{\n' + lines.join(',\n') + '\n}\n')
