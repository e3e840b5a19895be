//! Words that say what stands beside them, as devices of any maker use them. Compared without case and
//! without what divides their parts.

/// Keys under which an object keeps its readings apart from what is about them.
const CONTAINERS: &str = "\
    values fields data payload object decodedpayload decoded reported state params metrics readings \
    measurements telemetry measures d body properties uplinkmessage points signals variables sensors \
    messages vals tags records timeseries attributes message items result content reading measurement \
    status";
/// Of these, those that are sure to be, whatever lies beside them.
const SURE_CONTAINERS: &str = "\
    values fields object decodedpayload decoded reported metrics readings measurements telemetry \
    uplinkmessage timeseries";
/// Keys of numbers that are about a message and no readings.
const META: &str = "\
    version ver v seq seqno sequence sequencenumber fcnt fport fcntup port cid code id qos dr datarate \
    counter count messageid msgid retain revision rev nr number index type pid datasetwriterid \
    sequencenr interval period status quality error errorcode metadataversion majorversion \
    minorversion channel size len uid";
/// Ends of keys of objects that are about a message.
const META_ENDS: &str = "\
    info metadata meta header headers settings ids id tags labels context errors location position \
    versionids device source version dimensions attributes system annotations links metas";
/// Keys of the name of a value.
const NAMES: &str = "\
    displayname datapointid tagname name id n tag tagpath nodeid metric metricname signal signalname \
    variable variablename varname parameter param point pointname itemname item path key field \
    fieldname property quantity register registername address channelname measurement browsename label \
    sensortype";
/// Keys of a value.
const VALUES: &str = "\
    value v val currentvalue reading numericvalue doublevalue floatvalue data rawvalue scaledvalue \
    measuredvalue result pv presentvalue payload";
/// Keys of how good a value is.
const QUALITIES: &str = "\
    q quality qc qualitycode statuscode status good isgood code valid qualitystatus opcquality";
/// Keys of what a device is called.
const IDENTITIES: &str = "\
    id device deviceid deviceuid devicename dev devid deveui eui mac macaddress serial serialnumber \
    serialno sn uuid uid host hostname node nodename sensor sensorid sensorname machine machineid \
    machinename asset assetid assetname station stationid meter meterid thing thingid thingname \
    equipment equipmentid imei datasetwriterid datasetwritername";
/// Keys that tell devices apart together with one of those, or in a list.
const PARTS_OF_IDENTITIES: &str = "\
    name gateway gatewayid group address addr tid publisherid model controller line channel slave \
    slaveid";
/// Keys of the rate at which samples were taken.
const RATES: &str = "\
    fs rate samplerate samplingrate samplingfrequency samplefrequency hz odr sr ratehz sampleratehz \
    samplingratehz samplefreq freqhz";
/// Last levels of a topic that only say that a value follows.
const VALUE_LEVELS: &str = "\
    state value reading current_value val currentvalue stat raw_value";
/// Last levels of a topic that say what comes, and not from whom.
const KINDS_OF_MESSAGES: &str = "\
    status state event events data telemetry json values value info sensor sensors measurements \
    measurement rpc up uplink result results metrics all raw alarm alarms attributes message messages \
    readings reading tags points log config report rx tx out in update lwt";
/// Levels of a topic whose next one names a thing.
const KINDS_OF_THINGS: &str = "\
    device devices thing things node nodes machine machines asset assets gateway gateways client \
    clients application applications app apps line lines cell cells station stations meter meters user \
    users site sites area areas inverter inverters plant plants";
/// Words of a device that says whether it is there.
const PRESENCE: &str = "\
    online offline connected disconnected lost ready up down dead alive";
/// Words for yes and no that are no JSON.
const SWITCH: &str = "\
    on off yes no";

/// `key` as these lists have it.
pub(super) fn plain(key: &str) -> String {
    let kept = key.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

fn place(words: &str, key: &str) -> Option<usize> {
    let key = plain(key);
    words.split_whitespace().position(|word| word == key)
}

/// Whether a text is one of these, in whatever case.
fn has(words: &str, text: &str) -> bool {
    let text = text.trim().to_lowercase();
    words.split_whitespace().any(|word| word == text)
}

pub(super) fn is_container(key: &str) -> bool {
    place(CONTAINERS, key).is_some()
}

pub(super) fn is_sure_container(key: &str) -> bool {
    place(SURE_CONTAINERS, key).is_some()
}

pub(super) fn is_meta_number(key: &str) -> bool {
    place(META, key).is_some()
}

pub(super) fn is_meta_object(key: &str) -> bool {
    let key = plain(key);
    META_ENDS.split_whitespace().any(|end| key.ends_with(end))
}

/// The first of these keys in the order of the list.
fn first<'k>(words: &str, keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let ranked = keys.filter_map(|key| Some((place(words, key)?, key)));
    ranked.min().map(|(_, key)| key)
}

pub(super) fn name_among<'k>(keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    first(NAMES, keys)
}

pub(super) fn value_among<'k>(keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    first(VALUES, keys)
}

pub(super) fn quality_among<'k>(keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    first(QUALITIES, keys)
}

pub(super) fn rate_among<'k>(keys: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    first(RATES, keys)
}

pub(super) fn is_identity(key: &str) -> bool {
    place(IDENTITIES, key).is_some()
}

pub(super) fn is_part_of_identity(key: &str) -> bool {
    place(PARTS_OF_IDENTITIES, key).is_some()
}

pub(super) fn is_value_level(level: &str) -> bool {
    has(VALUE_LEVELS, level)
}

pub(super) fn names_a_kind_of_message(level: &str) -> bool {
    has(KINDS_OF_MESSAGES, level)
}

pub(super) fn names_a_kind_of_thing(level: &str) -> bool {
    has(KINDS_OF_THINGS, level)
}

pub(super) fn is_presence(text: &str) -> bool {
    has(PRESENCE, text)
}

pub(super) fn is_switch(text: &str) -> bool {
    has(SWITCH, text)
}

pub(super) fn is_missing(text: &str) -> bool {
    let text = text.trim();
    let mut words = crate::config::settings::StreamRule::MISSING.iter();
    text.is_empty() || words.any(|word| text.eq_ignore_ascii_case(word))
}

/// Units that may stand behind a number.
const UNITS: &str = "\
    °C °F C F K % V mV kV A mA W kW MW Wh kWh MWh VA kVA var Hz kHz bar mbar hPa Pa kPa MPa psi rpm mm \
    cm m km m/s mm/s km/h l L l/h l/min m3 m³ m³/h ppm ppb dB dBm s ms min h lx lux g kg t N Nm Ω ohm \
    mm/s²";

/// The unit behind the number that `text` begins with.
pub(super) fn unit_behind(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[number.len()..].trim();
    let known = UNITS.split_whitespace().find(|known| *known == unit)?;
    number.parse::<f64>().ok()?;
    Some(known)
}

/// Whether `text` is a number with a comma before its fraction.
pub(super) fn has_decimal_comma(text: &str) -> bool {
    let unsigned = text.trim().trim_start_matches('-');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    unsigned
        .split_once(',')
        .is_some_and(|(whole, fraction)| digits(whole) && digits(fraction))
}
